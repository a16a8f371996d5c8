"""What a recipe makes of a small Qwen2-VL: what learns, what drops out, and what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from spare_assets.clip.torchvision_shim import install
from spare_assets.settings import LoraSettings, load_settings
from spare_assets.training import model as training_model
from spare_assets.training import program
from spare_assets.training.collator import AnswerOnlyCollator
from spare_assets.training.model import (
    attention_implementation,
    check_recipe,
    load_for_training,
    optimizer_name,
    save_trained,
)
from spare_assets.training.order import TrainingError
from spare_assets_tests.engines.small_models import save_text_model, save_vision_model
from spare_assets_tests.training.small_rows import picture, recipe, row

install()
LORA = LoraSettings(rank=4, alpha=8)
MERGED = LoraSettings(rank=4, alpha=8, merge=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_vision_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def rows(tmp_path: Path) -> list[Any]:
    turns = (("Where is the mug?", "On the desk."), ("Is it red?", "yes"))
    return [row(picture(tmp_path / f"{seed}.png", 84, 56 + 28 * seed, seed), *turns) for seed in range(3)]


def batch_for(processor: Any, rows: list[Any], **changes: Any) -> dict[str, Any]:
    return AnswerOnlyCollator(processor, recipe(**changes))(rows)


def train(model: Any, batch: dict[str, Any], steps: int = 3, rate: float = 1e-2) -> list[float]:
    optimizer = torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=rate)
    losses = []
    for _ in range(steps):
        loss = model(**batch).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return losses


def logits(model: Any, batch: dict[str, Any]) -> Any:
    model.eval()
    with torch.no_grad():
        return model(**batch).logits.float()


def answer(model: Any, processor: Any, rows: list[Any]) -> list[int]:
    from PIL import Image

    prompt = processor(
        text=["<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Where?<|im_end|>\n<|im_start|>assistant\n"],
        images=[[Image.open(rows[0].image_path)]],
        return_tensors="pt",
    )
    model.eval()
    return list(model.generate(**prompt, max_new_tokens=8, do_sample=False)[0].tolist())


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_the_2b_recipe_trains_vision_tower_merger_and_language_model(
    base: Path, rows: list[Any], checkpointing: bool
) -> None:
    spare_2b = load_settings("paper").training.recipes["spare-2b"]
    assert (spare_2b.method, spare_2b.optimizer, spare_2b.dtype) == ("full", "adamw_8bit", "bfloat16")
    chosen = spare_2b.model_copy(update={"gradient_checkpointing": checkpointing, "max_pixels": 6 * 28 * 28})
    model, processor = load_for_training(base, chosen, 0)
    assert model.training
    # Master weights stay in float32; bfloat16 is for the forward pass.
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        model(**AnswerOnlyCollator(processor, chosen)(rows)).loss.backward()
    silent = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().any()]
    # Of the keys' bias softmax is independent.
    assert [name for name in silent if not name.endswith("k_proj.bias")] == []
    names = " ".join(name for name, value in model.named_parameters() if value.grad is not None)
    for part in ("visual.blocks.0", "visual.patch_embed", "visual.merger", "language_model.layers.1", "embed_tokens"):
        assert part in names


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
def test_lora_leaves_the_vision_tower_alone(base: Path, rows: list[Any], checkpointing: bool) -> None:
    chosen = recipe(method="lora", lora=LORA, gradient_checkpointing=checkpointing, dtype="bfloat16")
    model, processor = load_for_training(base, chosen, 0)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    assert {value.dtype for name, value in before.items() if "lora_" in name} == {torch.float32}
    assert {value.dtype for name, value in before.items() if "lora_" not in name} == {torch.bfloat16}
    learning = [name for name, value in model.named_parameters() if value.requires_grad]
    assert len(learning) == 2 * 7 * 2
    assert all("lora_" in name and "language_model" in name for name in learning)
    with torch.autocast("cpu", torch.bfloat16):
        train(model, batch_for(processor, rows))
    moved = [name for name, value in model.named_parameters() if not torch.equal(value, before[name])]
    assert sorted(moved) == sorted(learning)


def test_lora_on_everything_still_spares_the_vision_tower(base: Path) -> None:
    greedy = LoraSettings(rank=2, alpha=2, targets=r".*\.(qkv|proj|q_proj|fc1)")
    model, _ = load_for_training(base, recipe(method="lora", lora=greedy), 0)
    assert {name.split(".lora_")[0].split(".")[-1] for name, _ in model.named_parameters() if "lora_" in name} == {
        "q_proj"
    }
    for nothing in (r".*\.no_such_layer", r".*visual.*\.qkv"):
        with pytest.raises(TrainingError, match=r"lora\.targets .* fits no module"):
            load_for_training(base, recipe(method="lora", lora=LoraSettings(targets=nothing)), 0)


def test_adapters_begin_by_seed(base: Path) -> None:
    def first(seed: int) -> Any:
        model, _ = load_for_training(base, recipe(method="lora", lora=LORA), seed)
        return next(value for name, value in model.named_parameters() if "lora_A" in name).detach()

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_a_stored_adapter_answers_the_same(base: Path, rows: list[Any], tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, AutoProcessor

    chosen = recipe(method="lora", lora=LORA, dropout=0.1, revision="0123abc")
    model, processor = load_for_training(base, chosen, 0)
    batch = batch_for(processor, rows)
    untrained = logits(model, batch)
    model.train()
    train(model, batch)
    folder = tmp_path / "adapter"
    save_trained(model, processor, folder, chosen, base, "Qwen/Qwen2-VL-7B-Instruct")
    names = {path.name for path in folder.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "processor_config.json", "tokenizer.json"} <= names
    assert not {"model.safetensors", "README.md"} & names
    stored = json.loads((folder / "adapter_config.json").read_text())
    assert stored["base_model_name_or_path"] == "Qwen/Qwen2-VL-7B-Instruct"
    assert stored["revision"] == "0123abc"
    assert_no_path_of_this_machine(folder, base, tmp_path)
    again = PeftModel.from_pretrained(
        AutoModelForImageTextToText.from_pretrained(base, dtype=torch.float32), folder, is_trainable=False
    )
    expected = logits(model, batch)
    assert torch.allclose(logits(again, batch), expected, atol=1e-5)
    assert not torch.allclose(expected, untrained, atol=1e-2)
    restored = AutoProcessor.from_pretrained(folder)
    assert answer(again, restored, rows) == answer(model, processor, rows)


def test_a_merged_adapter_answers_as_the_adapter_did(base: Path, rows: list[Any], tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    chosen = recipe(method="lora", lora=MERGED, dropout=0.1)
    model, processor = load_for_training(base, chosen, 0)
    batch = batch_for(processor, rows)
    train(model, batch)
    expected = logits(model, batch)
    save_trained(model, processor, tmp_path / "merged", chosen, base, "x/y")
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    again, loading = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert torch.allclose(logits(again, batch), expected, atol=1e-4)


def assert_no_path_of_this_machine(folder: Path, *paths: Path) -> None:
    for file in folder.iterdir():
        content = file.read_bytes()
        assert not [path for path in paths if str(path).encode() in content], file.name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_stored_model_is_whole_and_as_the_base_was_made(
    base: Path, rows: list[Any], tmp_path: Path, dtype: str
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    chosen = recipe(dropout=0.3, dtype=dtype, gradient_checkpointing=True)
    model, processor = load_for_training(base, chosen, 0)
    batch = batch_for(processor, rows)
    train(model, batch)
    expected = logits(model, batch)
    folder = tmp_path / "trained"
    save_trained(model, processor, folder, chosen, base, "x/y")
    assert {value.dtype for value in model.parameters()} == {torch.float32}, "the model in memory goes on as it was"
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "generation_config.json", "processor_config.json"} <= names
    assert "chat_template.jinja" in names
    assert not [name for name in names if name.endswith((".bin", ".pt"))]
    assert_no_path_of_this_machine(folder, base, tmp_path)
    stored, released = (json.loads((where / "config.json").read_text()) for where in (folder, base))
    assert stored["dtype"] == stored["text_config"]["dtype"] == dtype
    for config in (stored, released):
        for section in (config, config["text_config"], config["vision_config"]):
            section.pop("dtype", None)
    assert stored == released
    again, loading = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert {value.dtype for value in again.parameters()} == {getattr(torch, dtype)}
    difference = (logits(again, batch) - expected).abs().max() / expected.abs().max()
    assert difference < (1e-6 if dtype == "float32" else 0.1)
    restored = AutoProcessor.from_pretrained(folder)
    assert dict(restored.image_processor.size) == {"shortest_edge": 28 * 28, "longest_edge": 6 * 28 * 28}
    assert restored.chat_template == processor.chat_template


def test_weights_gathered_elsewhere_are_what_is_stored(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model, processor = load_for_training(base, recipe(), 0)
    state = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    save_trained(model, processor, tmp_path, recipe(), base, "x/y", state=state)
    assert not any(value.any() for value in load_file(tmp_path / "model.safetensors").values())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_dropout_is_active_in_training_and_off_in_evaluation(
    base: Path, rows: list[Any], attention: str, method: str
) -> None:
    def losses(dropout: float, training: bool) -> set[float]:
        chosen = recipe(dropout=dropout, attention=attention, method=method, lora=LORA)
        model, processor = load_for_training(base, chosen, 0)
        for name, value in model.named_parameters():
            if "lora_B" in name:
                # As made, an adapter adds nothing, and so drops nothing.
                torch.nn.init.normal_(value, generator=torch.Generator().manual_seed(0))
        model.train(training)
        batch = batch_for(processor, rows)
        torch.manual_seed(0)
        with torch.no_grad():
            return {model(**batch).loss.item() for _ in range(3)}

    assert len(losses(0.3, training=True)) == 3
    assert len(losses(0.0, training=True)) == 1
    assert losses(0.3, training=False) == losses(0.0, training=False)


def test_full_fine_tuning_drops_attention_of_the_language_model(base: Path) -> None:
    model, _ = load_for_training(base, recipe(dropout=0.1), 0)
    found = {
        name.split(".")[1]: module.attention_dropout
        for name, module in model.named_modules()
        if hasattr(module, "attention_dropout")
    }
    assert found == {"visual": 0.0, "language_model": 0.1}


def test_the_8bit_optimizer_keeps_large_states_in_8_bits(base: Path, rows: list[Any]) -> None:
    model, processor = load_for_training(base, recipe(), 0)
    optimizer = eight_bit_optimizer(model)
    model(**batch_for(processor, rows)).loss.backward()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimizer.step()
    sizes = {True: 0, False: 0}
    for name, value in model.named_parameters():
        state = optimizer.state[value]
        large = value.numel() >= 4096
        sizes[large] += 1
        for moment in ("state1", "state2"):
            assert state[moment].dtype == (torch.uint8 if large else torch.float32), name
        assert not torch.equal(value, before[name]) or name.endswith("k_proj.bias"), name
    assert min(sizes.values()) > 5


def eight_bit_optimizer(model: Any) -> Any:
    """The optimizer that the program's trainer makes of the recipe's name."""
    from transformers import TrainingArguments

    arguments = TrainingArguments(optim=optimizer_name(recipe(optimizer="adamw_8bit")), use_cpu=True, report_to="none")
    return program.trainer_class()(model=model, args=arguments).create_optimizer()


def test_optimizers_have_the_trainers_names() -> None:
    from transformers.training_args import OptimizerNames

    names = [optimizer_name(recipe(optimizer=name)) for name in ("adamw", "adamw_8bit")]
    assert names == ["adamw_torch", "adamw_bnb_8bit"]
    assert all(OptimizerNames(name) for name in names)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def old_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old GPU")
    yield


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"require_gpu": True}, "demands a GPU.*nvidia-smi"),
        ({"attention": "flash_attention_2"}, "needs a GPU and the package flash-attn.*attention: auto"),
        ({"liger": True}, "needs a GPU and the package liger-kernel"),
        ({"accelerate_config": "no/such.yaml"}, r"there is no file .*no/such\.yaml.*accelerate config"),
        ({"method": "lora", "lora": LoraSettings(targets="(q_proj")}, r"lora\.targets is no regular expression"),
    ],
)
def test_what_this_machine_cannot_do_is_said_before_anything_is_loaded(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        check_recipe(recipe(**changes))


@pytest.mark.parametrize(
    ("package", "changes"), [("bitsandbytes", {"optimizer": "adamw_8bit"}), ("peft", {"method": "lora"})]
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str, changes: dict[str, Any]) -> None:
    check_recipe(recipe(**changes))
    monkeypatch.setattr(training_model, "find_spec", lambda name: None if name == package else find_spec(name))
    with pytest.raises(TrainingError, match=f"pip install {package}"):
        check_recipe(recipe(**changes))


@pytest.mark.usefixtures("old_gpu")
def test_a_gpu_without_bfloat16_is_named() -> None:
    check_recipe(recipe(dtype="float32"))
    with pytest.raises(TrainingError, match="Old GPU does not compute in bfloat16: set dtype: float32"):
        check_recipe(recipe(dtype="bfloat16"))


@pytest.mark.usefixtures("no_gpu")
def test_attention_is_sdpa_where_flash_attention_does_not_run() -> None:
    assert attention_implementation(recipe(dtype="bfloat16")) == "sdpa"
    assert attention_implementation(recipe(attention="eager")) == "eager"


def test_every_shipped_recipe_that_needs_no_gpu_passes() -> None:
    for chosen in load_settings("sandbox").training.recipes.values():
        check_recipe(chosen)


def test_a_folder_that_is_no_vision_language_model_is_refused(base: Path, tmp_path: Path) -> None:
    def loading(folder: Path, **changes: Any) -> None:
        load_for_training(folder, recipe(**changes), 0)

    with pytest.raises(TrainingError, match=r"there is no folder .*nowhere"):
        loading(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingError, match=r"base model: .*empty holds no weights: neither model\.safetensors"):
        loading(tmp_path / "empty")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((base / "config.json").read_text())
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(TrainingError, match=r"pickled holds only pickled weights .*convert them to safetensors"):
        loading(pickled)
    with pytest.raises(TrainingError, match=r"text does not load as a vision-language model"):
        loading(save_text_model(tmp_path / "text"))


def test_damaged_weights_are_refused(base: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    cut = shutil.copytree(base, tmp_path / "cut")
    whole = (base / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"cut does not load"):
        load_for_training(cut, recipe(), 0)
    lacking = shutil.copytree(base, tmp_path / "lacking")
    weights = load_file(base / "model.safetensors")
    gone = next(name for name in weights if "merger" in name)
    save_file({name: value for name, value in weights.items() if name != gone}, lacking / "model.safetensors")
    with pytest.raises(TrainingError, match=r"lacking lacks 1 weights .*merger.*fetch it again"):
        load_for_training(lacking, recipe(), 0)
