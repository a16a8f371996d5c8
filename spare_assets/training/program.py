"""The training program: `python -m spare_assets.training.program <order.json>`, alone or as a rank of several.

It carries out one order with the transformers Trainer and leaves a finished model behind, whole or not at all; killed
at any moment, it goes on from the last saved state when started again. Exit codes: 0 when the model is there, 3 when
the order cannot be carried out for a reason that a person can mend (told through Pipes, on stderr and in the work
folder's `error.txt`), 128 and the signal's number when it was asked to end.

Rows, batches, the model and the reports have modules of their own; what is wired together here is what needs them
all. It knows nothing of assets.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import psutil

from spare_assets.storage.durability import sync, sync_tree
from spare_assets.storage.temporaries import sweep_temporaries, temporary_beside
from spare_assets.training.batch_order import BatchOrder, steps_per_epoch
from spare_assets.training.collator import AnswerOnlyCollator
from spare_assets.training.model import check_recipe, load_for_training, optimizer_name, save_trained
from spare_assets.training.model_card import model_card
from spare_assets.training.order import ERROR_FILE, OUTCOME_FILE, TrainingError, TrainingOrder, TrainingOutcome
from spare_assets.training.process_group import end_process, watch_lifeline
from spare_assets.training.reports import LOG_FILE, Reports, StepRecord, TrainingBeat, TrainingLog
from spare_assets.training.row_batches import ROW_KEYS, UNREADABLE, RowBatches, check_sample
from spare_assets.training.row_encoding import IGNORED
from spare_assets.training.rows import TrainingRows
from spare_assets.training.saved_states import SavedStates

RECORD_FILE = "training.json"
CARD_FILE = "README.md"
_PATIENCE_SECONDS = 24 * 3600
REFUSED = 3
"""Exit code of an order that cannot be carried out."""
_WEIGHTS = "trained.safetensors"
_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
_BEAT_SECONDS = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Carry out the order in the file that is the one argument; the exit code."""
    watch_lifeline()
    for number in (signal.SIGTERM, signal.SIGINT):
        # States are whole at any moment, so there is nothing to unwind; a GPU's step may take long to come back.
        signal.signal(number, lambda number, _: end_process(128 + number))
    (order_file,) = sys.argv[1:] if arguments is None else arguments
    order = TrainingOrder.load(Path(order_file))
    reports = Reports(int(os.environ.get("RANK", "0")))
    error_file = order.work / ERROR_FILE
    error_file.unlink(missing_ok=True)
    try:
        carry_out(order, reports)
    except TrainingError as error:
        # Written by whichever rank has it: a launcher hides exit codes and Pipes hears the first rank only.
        error_file.write_text(f"{error}\n", encoding="utf-8")
        reports.error(str(error))
        return REFUSED
    finally:
        reports.close()
    return 0


def carry_out(order: TrainingOrder, reports: Reports) -> None:
    """Train a model as ordered, unless it is there already.

    Raises TrainingError for a recipe, base, table or pictures that it cannot be done with.
    """
    if (order.output / OUTCOME_FILE).is_file():
        reports.notice(f"{order.model}: already trained, {order.output}")
        return
    if order.output.exists():
        raise TrainingError(f"{order.output} is in the way: it is no finished model; move it elsewhere or delete it")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    accumulated = _accumulated_batches(order, processes)
    if processes == 1:
        _use_one_gpu()
    check_recipe(order.recipe)
    _no_loading_bars()
    model, processor = load_for_training(order.base, order.recipe, order.seed)
    states, scratch = SavedStates(order.work / "states"), order.work / "rows"
    settings = _trainer_settings(order, accumulated, states.folder)
    first = settings.process_index == 0
    with settings.main_process_first(desc="reading rows"):
        train, held_out = (
            TrainingRows(order.rows, part, processor, order.recipe, scratch) for part in ("train", "held_out")
        )
        if first:
            states.drop_torn()
            _check_rows(order, train, held_out, processor, processes, reports)
    resumed_at, state = states.newest() or (0, None)
    log = TrainingLog(order.work / LOG_FILE, resumed_at) if first else None
    if resumed_at:
        reports.notice(f"{order.model}: going on after step {resumed_at:,}")
    trainer = trainer_class()(
        model=model,
        args=settings,
        train_dataset=range(len(train)),
        data_collator=RowBatches(train, AnswerOnlyCollator(processor, order.recipe), replace=True),
    )
    trainer.tell(BatchOrder(train.lengths, order.recipe.batch_size, order.seed), states, log, reports, order.recipe)
    trainer.train(resume_from_checkpoint=str(state) if state else None)
    held_out_loss, left_out = _held_out_loss(trainer, held_out, processor, order, reports)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if trainer.is_fsdp_enabled else None
    if log is not None:
        outcome = _outcome(order, log.records, train, held_out_loss, left_out, resumed_at)
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        _publish(order, outcome, model, processor, weights)
        states.remove()
        shutil.rmtree(scratch, ignore_errors=True)
        reports.notice(f"{order.model}: trained, {order.output}")


def _accumulated_batches(order: TrainingOrder, processes: int) -> int:
    """Forward passes of one process per optimizer step."""
    recipe = order.recipe
    together = recipe.micro_batch_size * processes
    if recipe.batch_size % together:
        raise TrainingError(
            f"batch_size {recipe.batch_size} cannot be shared among {processes} processes with micro_batch_size "
            f"{recipe.micro_batch_size}: make it a multiple of {together}, or change the number of processes"
        )
    return recipe.batch_size // together


def _use_one_gpu() -> None:
    """One process trains on one GPU; the Trainer would otherwise spread every batch over all it sees."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible != "":
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0] if visible else "0"


def _no_loading_bars() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


def _trainer_settings(order: TrainingOrder, accumulated: int, states: Path) -> Any:
    import torch
    from transformers import TrainingArguments

    recipe = order.recipe
    has_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(states),
        per_device_train_batch_size=recipe.micro_batch_size,
        gradient_accumulation_steps=accumulated,
        num_train_epochs=recipe.epochs,
        max_steps=recipe.max_steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=_SCHEDULES[recipe.schedule],
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_gradient_norm,
        optim=optimizer_name(recipe),
        bf16=recipe.dtype == "bfloat16",
        use_cpu=not has_gpu,
        ddp_find_unused_parameters=False,
        # The others wait while the first counts the tokens of a million rows.
        ddp_timeout=_PATIENCE_SECONDS,
        ddp_backend=None if has_gpu or "WORLD_SIZE" not in os.environ else "gloo",
        seed=order.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_num_workers=recipe.loader_processes,
        dataloader_persistent_workers=recipe.loader_processes > 0,
        dataloader_pin_memory=has_gpu,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=recipe.save_steps,
        report_to="none",
        disable_tqdm=True,
    )


def _check_rows(
    order: TrainingOrder,
    train: TrainingRows,
    held_out: TrainingRows,
    processor: Any,
    processes: int,
    reports: Reports,
) -> None:
    recipe = order.recipe
    if not len(train):
        raise TrainingError(
            f"{order.rows} has no row to train on: {train.too_long:,} are longer than max_length "
            f"{recipe.max_length:,}, {train.refused:,} have pictures of an odd shape"
        )
    if len(train) < recipe.batch_size and len(train) % (recipe.micro_batch_size * processes):
        raise TrainingError(
            f"{len(train):,} training rows do not fill a batch of {recipe.batch_size} and cannot be shared among "
            f"{processes} processes: lower batch_size, or train with one process and micro_batch_size 1"
        )
    steps = recipe.max_steps or recipe.epochs * steps_per_epoch(len(train), recipe.batch_size)
    if recipe.warmup_steps >= steps:
        reports.notice(
            f"{order.model}: the warm-up of {recipe.warmup_steps:,} steps outlasts the {steps:,} steps there are; the "
            f"learning rate ends at {steps / recipe.warmup_steps:.0%} of {recipe.learning_rate:g}: lower warmup_steps"
        )
    check_sample(train, AnswerOnlyCollator(processor, recipe), order.seed)
    reports.notice(
        f"{order.model}: {len(train):,} rows to train on, {len(held_out):,} held out; set aside "
        f"{train.too_long + held_out.too_long:,} too long, {train.refused + held_out.refused:,} of an odd shape"
    )


def trainer_class() -> Any:
    """The Trainer with our batches, states and reports; made here because its base is a heavy import."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import Trainer, set_seed

    class StatefulTrainer(Trainer):  # type: ignore[misc]
        """Trains on whole effective batches in a given order, saves states that count only when whole."""

        def tell(
            self, batch_order: BatchOrder, states: SavedStates, log: TrainingLog | None, reports: Reports, recipe: Any
        ) -> None:
            """What it needs beyond the Trainer's own; `log` in the first process alone."""
            self._batch_order = batch_order
            self._states = states
            self._step_log = log
            self._reports = reports
            self._every = recipe.log_steps
            self._seconds_before = log.records[-1].seconds if log is not None and log.records else 0.0
            self._unreadable: dict[str, str] = {}
            self._sums: list[int] = []
            self._told_at = 0

        def _get_train_sampler(self, train_dataset: Any = None) -> BatchOrder:
            return self._batch_order

        def create_optimizer(self, *arguments: Any, **named: Any) -> Any:
            optimizer = super().create_optimizer(*arguments, **named)
            if bitsandbytes := sys.modules.get("bitsandbytes"):
                # The Trainer asks for 32-bit states of embeddings; here every large tensor has 8-bit ones.
                bitsandbytes.optim.GlobalOptimManager.get_instance().module_weight_config_triple.clear()
            return optimizer

        def train(self, resume_from_checkpoint: str | None = None) -> Any:
            # Each process draws its own dropout.
            set_seed(self.args.seed + self.args.process_index)
            self._started = self._told = time.monotonic()
            return super().train(resume_from_checkpoint=resume_from_checkpoint)

        def _run_epoch(self, *arguments: Any, **named: Any) -> None:
            # Resuming in mid-epoch, the Trainer does not reach the order through what accelerate wraps it in.
            self._batch_order.set_epoch(named["epoch"])
            # The Trainer would take one more step after resuming at the last.
            if self.state.global_step < self.state.max_steps:
                super()._run_epoch(*arguments, **named)

        def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> Any:
            batches, answer_tokens = super().get_batch_samples(epoch_iterator, num_batches, device)
            unreadable: dict[str, str] = {}
            own = [0, 0, 0, 0]
            for batch in batches:
                own[0] += int(batch.pop(ROW_KEYS).sum())
                own[1] += int(batch["attention_mask"].sum())
                own[2] += int(batch["labels"][:, 1:].ne(IGNORED).sum())
                unreadable |= batch.pop(UNREADABLE)
            own[0] = (own[0] + 2**63) % 2**64 - 2**63
            own[3] = len(unreadable)
            everyone = self.accelerator.gather(torch.tensor([own], device=device))
            self._sums = everyone.sum(dim=0).tolist()
            if self._sums[3]:
                unreadable = _merged(self.accelerator, unreadable)
            self._unreadable = unreadable
            return batches, answer_tokens

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            """Take down one optimizer step. Called in every process, with losses of all."""
            if "loss" not in logs:
                return
            step, loss = self.state.global_step, logs["loss"]
            if not abs(loss) < float("inf"):
                raise TrainingError(
                    f"step {step:,}: the loss is {loss}; lower learning_rate, or lengthen warmup_steps, and start again"
                )
            memory = torch.tensor([_memory()], device=self.args.device)
            memory_bytes = int(self.accelerator.gather(memory).max())
            if self._step_log is None:
                return
            rows_key, tokens, answer_tokens, _ = self._sums
            for row_id, reason in self._unreadable.items():
                self._reports.notice(f"replaced a row that cannot be used, {row_id!r}: {reason}")
            record = StepRecord(
                step=step,
                loss=loss,
                learning_rate=logs["learning_rate"],
                gradient_norm=logs["grad_norm"],
                rows_hash=f"{rows_key % 2**64:016x}",
                tokens=tokens,
                answer_tokens=answer_tokens,
                memory_bytes=memory_bytes,
                seconds=self._seconds_before + time.monotonic() - self._started,
                unreadable=self._unreadable,
            )
            self._step_log.append(record)
            first = not self._told_at
            if first or step % self._every == 0 or step == self.state.max_steps:
                self._beat(step)

        def _beat(self, step: int) -> None:
            assert self._step_log is not None
            begun = self._initial_global_step
            now = time.monotonic()
            since = self._step_log.records[max(self._told_at, begun) - step :]
            last = since[-1]
            self._reports.beat(
                TrainingBeat(
                    phase="training",
                    step=step,
                    total=self.state.max_steps,
                    loss=_mean_loss(since),
                    learning_rate=last.learning_rate,
                    gradient_norm=last.gradient_norm,
                    tokens_per_second=sum(record.tokens for record in since) / (now - self._told),
                    memory_bytes=last.memory_bytes,
                    seconds=last.seconds,
                    seconds_left=(now - self._started) / (step - begun) * (self.state.max_steps - step),
                )
            )
            self._told_at, self._told = step, now

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            super()._save_checkpoint(model, trial)
            # Every process writes its own part; then the first declares the whole.
            self.accelerator.wait_for_everyone()
            if self._step_log is not None:
                self._step_log.sync()
                self._states.complete(self.state.global_step)

        def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
            """The trained weights of a state: by their names in this very model, so that all of them come back."""
            if self.is_fsdp_enabled:
                super().save_model(output_dir, _internal_call)
            elif self.args.should_save:
                folder = Path(str(output_dir))
                folder.mkdir(parents=True, exist_ok=True)
                weights = {name: weight.detach().contiguous() for name, weight in self._trained().items()}
                save_file(weights, folder / _WEIGHTS)

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            if self.is_fsdp_enabled:
                super()._load_from_checkpoint(resume_from_checkpoint, model)
                return
            weights = load_file(Path(resume_from_checkpoint) / _WEIGHTS)
            trained = self._trained()
            if weights.keys() != trained.keys():
                raise TrainingError(
                    f"{resume_from_checkpoint} is a state of another model: delete {self._states.folder}"
                )
            with torch.no_grad():
                for name, weight in trained.items():
                    weight.copy_(weights[name])

        def _trained(self) -> dict[str, Any]:
            return {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}

    return StatefulTrainer


def _merged(accelerator: Any, unreadable: dict[str, str]) -> dict[str, str]:
    """Reasons by row id from all processes."""
    from accelerate.utils import gather_object  # type: ignore[import-untyped]

    return dict(gather_object(list(unreadable.items())))


def _memory() -> int:
    """Bytes this process holds: at most so far on the GPU, or now without one."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)


def _mean_loss(records: list[StepRecord]) -> float:
    tokens = sum(record.answer_tokens for record in records)
    return sum(record.loss * record.answer_tokens for record in records) / tokens


def _held_out_loss(
    trainer: Any, rows: TrainingRows, processor: Any, order: TrainingOrder, reports: Reports
) -> tuple[float | None, int]:
    """Mean cross-entropy per answer token of all held-out rows, None without any; and rows that cannot be used."""
    if not len(rows):
        return None, 0
    import torch

    recipe, accelerator = order.recipe, trainer.accelerator
    # Rows of like length side by side, and every process as many batches as any: sharded models run in step.
    by_length = rows.lengths.argsort(kind="stable")[::-1].tolist()
    batches = [by_length[at : at + recipe.micro_batch_size] for at in range(0, len(rows), recipe.micro_batch_size)]
    own = batches[accelerator.process_index :: accelerator.num_processes]
    rounds = -(-len(batches) // accelerator.num_processes)
    loader: Any = torch.utils.data.DataLoader(
        range(len(rows)),  # type: ignore[arg-type]
        batch_sampler=own,
        collate_fn=RowBatches(rows, AnswerOnlyCollator(processor, recipe), replace=False),
        num_workers=recipe.loader_processes,
    )
    model = trainer.model_wrapped
    model.eval()
    loss, answer_tokens, tokens, unusable = torch.zeros(4, dtype=torch.float64, device=trainer.args.device)
    started = told = time.monotonic()
    with torch.no_grad():
        for done, batch in enumerate(itertools.chain(loader, [{}] * (rounds - len(own))), start=1):
            unusable += len(batch.pop(UNREADABLE, {}))
            batch.pop(ROW_KEYS, None)
            inputs = trainer._prepare_inputs(batch or _spare(trainer))
            # Normalised by one, the loss is the sum over answer tokens.
            summed = model(**inputs, num_items_in_batch=1).loss
            if batch:
                loss += summed
                answer_tokens += inputs["labels"][:, 1:].ne(IGNORED).sum()
                tokens += inputs["attention_mask"].sum()
            now = time.monotonic()
            if now - told >= _BEAT_SECONDS:
                told = now
                reports.beat(
                    TrainingBeat(
                        phase="held out",
                        step=done,
                        total=rounds,
                        loss=float(loss / answer_tokens.clamp(min=1)),
                        learning_rate=None,
                        gradient_norm=None,
                        tokens_per_second=float(tokens) * accelerator.num_processes / (now - started),
                        memory_bytes=_memory(),
                        seconds=now - started,
                        seconds_left=(now - started) / done * (rounds - done),
                    )
                )
    loss, answer_tokens, unusable = accelerator.reduce(torch.stack([loss, answer_tokens, unusable])).tolist()
    return (loss / answer_tokens if answer_tokens else None), int(unusable)


def _spare(trainer: Any) -> dict[str, Any]:
    """Some batch, for a process that has none left while others compute."""
    batch: dict[str, Any] = trainer.data_collator([0])
    return {name: value for name, value in batch.items() if name not in (ROW_KEYS, UNREADABLE)}


def _outcome(
    order: TrainingOrder,
    records: list[StepRecord],
    train: TrainingRows,
    held_out_loss: float | None,
    left_out: int,
    resumed_at: int,
) -> TrainingOutcome:
    unreadable = {row_id for record in records for row_id in record.unreadable}
    return TrainingOutcome(
        steps=records[-1].step,
        rows=len(train),
        tokens=sum(record.tokens for record in records),
        answer_tokens=sum(record.answer_tokens for record in records),
        seconds=records[-1].seconds,
        peak_memory_bytes=max(record.memory_bytes for record in records),
        training_loss=_mean_loss(records[-order.recipe.log_steps :]),
        held_out_loss=held_out_loss,
        too_long=train.too_long,
        unreadable=len(unreadable) + left_out + train.refused,
        resumed_at=resumed_at,
    )


def _publish(order: TrainingOrder, outcome: TrainingOutcome, model: Any, processor: Any, weights: Any) -> None:
    """The finished model's folder, complete before it takes its name."""
    parent = order.output.parent
    parent.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(parent.glob(f".{glob.escape(order.output.name)}.*.tmp"))
    folder = temporary_beside(order.output)
    save_trained(model, processor, folder, order.recipe, order.base, order.recipe.base, weights)
    record = json.dumps(order.record, indent=1, ensure_ascii=False) + "\n"
    (folder / RECORD_FILE).write_text(record, encoding="utf-8")
    shutil.copyfile(order.work / LOG_FILE, folder / LOG_FILE)
    (folder / CARD_FILE).write_text(model_card(order, outcome), encoding="utf-8")
    outcome.save(folder)
    sync_tree(folder)
    folder.rename(order.output)
    sync(parent)


def _run() -> NoReturn:
    """The program's life. It ends without unwinding: taking a group of gloo processes apart can wait for ever."""
    code = 1
    try:
        code = main()
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        end_process(code)


if __name__ == "__main__":
    _run()
