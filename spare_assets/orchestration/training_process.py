"""The training program as Dagster sees it: started through Pipes, listened to, and ended with its run.

What the program does, and how its processes are started and ended, is the training room's.
"""

from __future__ import annotations

import dagster as dg

from spare_assets.orchestration.stage import Stage
from spare_assets.progress import Beat
from spare_assets.training.order import ERROR_FILE, TrainingError, TrainingOrder, TrainingOutcome
from spare_assets.training.process_group import last_lines, run_group, training_command
from spare_assets.training.reports import TrainingBeat

OUTPUT_FILE = "output.log"


def run_training(stage: Stage, order: TrainingOrder) -> TrainingOutcome:
    """Carry out an order in processes of its own and hand on what they tell; the outcome.

    A run that is cancelled or dies takes them with it. Raises TrainingError in the program's own words where it fails.
    """
    command = training_command(order.save(), order.recipe)
    output = order.work / OUTPUT_FILE
    (order.work / ERROR_FILE).unlink(missing_ok=True)
    with dg.open_pipes_session(
        stage.context, dg.PipesTempFileContextInjector(), dg.PipesTempFileMessageReader()
    ) as session:
        told = _Told(stage, order.model)
        environment = session.get_bootstrap_env_vars()
        code = run_group(command, environment, lambda: told.hear(session), output)
    told.hear(session)
    if code or not order.output.is_dir():
        said = told.error or _written(order) or f"it ended with code {code}. Its last words:\n{last_lines(output)}"
        raise TrainingError(f"training {order.model}: {said}\nAll it said is in {output}")
    return TrainingOutcome.load(order.output)


def _written(order: TrainingOrder) -> str:
    """Why it ended, by whichever of several processes knew; Pipes hears the first alone."""
    path = order.work / ERROR_FILE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


class _Told:
    """What the program has told so far, handed on as it comes."""

    def __init__(self, stage: Stage, model: str) -> None:
        self.error = ""
        self._stage, self._model, self._heard = stage, model, 0

    def hear(self, session: dg.PipesSession) -> None:
        """Hand on what is new."""
        messages = session.get_custom_messages()
        for message in messages[self._heard :]:
            if "error" in message:
                self.error = str(message["error"])
            elif "notice" in message:
                self._stage.context.log.info(f"{self._model}: {message['notice']}")
            elif "beat" in message:
                self._stage.tell(self._beat(TrainingBeat(**message["beat"])))
        self._heard = len(messages)

    def _beat(self, beat: TrainingBeat) -> Beat:
        detail = [f"loss {beat.loss:.4f}"]
        if beat.learning_rate is not None:
            detail.append(f"learning rate {beat.learning_rate:.2g}")
        detail.append(f"{beat.memory_bytes / 1e9:.1f} GB")
        return Beat(
            f"{self._model} {beat.phase}",
            beat.step,
            beat.total,
            beat.seconds,
            int(beat.tokens_per_second * beat.seconds),
            0,
            finished=False,
            detail=", ".join(detail),
        )
