"""Models that carry code, in every place a model is loaded from: refused, or loaded without a line of theirs run.

Which files make a model, and what is said of an absent or broken one, stands in the tests of the engines.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spare_assets_tests.faults.cases import Case, Outcome

FAULT = "a model that carries code"
_CODE = "import pathlib; pathlib.Path({marker!r}).touch()\n"


class _Payload:
    """What leaves a mark where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


def _pickled(marker: Path) -> bytes:
    """A file as torch.save writes them, that acts when it is read."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Payload(marker), protocol=2))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def _amend(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | fields))


def _only_pickles(model: Path, marker: Path) -> None:
    for name in ("model.safetensors", "open_clip_model.safetensors"):
        (model / name).unlink(missing_ok=True)
    for name in ("pytorch_model.bin", "model.bin", "model.pt", "open_clip_pytorch_model.bin"):
        (model / name).write_bytes(_pickled(marker))


def _pickle_called_safetensors(model: Path, marker: Path) -> None:
    for path in model.glob("*.safetensors"):
        path.write_bytes(_pickled(marker))


def _pickles_beside(model: Path, marker: Path) -> None:
    for name in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "open_clip_pytorch_model.bin"):
        (model / name).write_bytes(_pickled(marker))


def _own_code(model: Path, marker: Path) -> None:
    code = _CODE.format(marker=str(marker))
    for name in ("modeling", "configuration", "tokenization", "processing", "image_processing", "__init__"):
        (model / f"{name}.py").write_text(f"{code}class Own:\n    pass\n")
    places = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForImageTextToText")
    _amend(model / "config.json", auto_map=dict.fromkeys(places, "modeling.Own"))
    _amend(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization.Own", None]})
    for name, place in (("preprocessor_config.json", "AutoImageProcessor"), ("processor_config.json", "AutoProcessor")):
        if (model / name).exists():
            _amend(model / name, auto_map={place: "processing.Own"})


def _own_architecture(model: Path, marker: Path) -> None:
    _own_code(model, marker)
    _amend(model / "config.json", model_type="own", architectures=["Own"])


def _own_template(model: Path, marker: Path) -> None:
    reach = "{{ cycler.__init__.__globals__.os.system(\"touch '%s'\") }}" % marker  # noqa: UP031
    (model / "chat_template.jinja").write_text(reach)
    _amend(model / "tokenizer_config.json", chat_template=reach)


REFUSED = {"only pickles": _only_pickles, "pickles called safetensors": _pickle_called_safetensors}
"""Ways for a model to carry code that leave it nothing else to load."""
CODE = {"an architecture of its own": _own_architecture, "a chat template that reaches out": _own_template}
HARMLESS = {"pickles beside": _pickles_beside, "code beside": _own_code}
"""Ways that leave a whole model, which loads without them."""


def _text(model: Path) -> None:
    from spare_assets.engines.chat import ChatMessage, ChatRequest
    from spare_assets.engines.transformers_engine import TransformersEngine
    from spare_assets.settings import TransformersEngine as Settings

    engine = TransformersEngine(Settings(model=str(model), device="cpu"), "local")
    (reply,) = engine.complete([("key", ChatRequest((ChatMessage("user", "Where?"),), 2))])
    assert reply.error is None, reply.error


def _training(model: Path) -> None:
    from spare_assets.settings import RecipeSettings
    from spare_assets.training.model import load_for_training

    load_for_training(model, RecipeSettings(base=str(model), learning_rate=1e-4, batch_size=1), 0)


def _clip(model: Path) -> None:
    from spare_assets.clip.encoder import ClipEncoder

    assert len(ClipEncoder(str(model), device="cpu").encode_texts(["a cup"])) == 1


def _saved_clip(folder: Path) -> Path:
    from spare_assets.sandbox import SANDBOX_CLIP

    return Path(shutil.copytree(SANDBOX_CLIP, folder))


def _check(save: Callable[[Path], Path], load: Callable[[Path], None], ways: tuple[str, ...], folder: Path) -> Outcome:
    from spare_assets.clip.encoder import EncoderError
    from spare_assets.clip.torchvision_shim import install
    from spare_assets.engines.chat import EngineError
    from spare_assets.training.order import TrainingError

    install()
    import torch

    torch.set_num_threads(1)
    whole = save(folder / "whole")
    marker = folder / "owned"
    for way in ways:
        model = Path(shutil.copytree(whole, folder / way))
        (REFUSED | CODE | HARMLESS)[way](model, marker)
        try:
            load(model)
            refused = False
        except (EngineError, TrainingError, EncoderError) as error:
            refused = True
            assert "model" in str(error), "refused in words"
        assert refused or way in HARMLESS, f"{way}: loaded"
        assert not (refused and way in HARMLESS), f"{way}: refused"
        assert not marker.exists(), f"{way}: its code ran"
    return Outcome(len(ways))


def _case(stage: str, name: str, save: Any, load: Any, ways: tuple[str, ...], short: bool = False) -> Case:
    return Case(FAULT, stage, name, lambda folder: _check(save, load, ways, folder), short)


def _save_text(folder: Path) -> Path:
    from spare_assets.clip.torchvision_shim import install
    from spare_assets_tests.engines.small_models import save_text_model

    install()
    return save_text_model(folder)


def _save_vision(folder: Path) -> Path:
    from spare_assets.clip.torchvision_shim import install
    from spare_assets_tests.engines.small_models import save_vision_model

    install()
    return save_vision_model(folder)


_ALL = (*REFUSED, *CODE, *HARMLESS)
CASES = [
    _case("engines", "a language model", _save_text, _text, _ALL),
    _case("engines", "a language model, in short", _save_text, _text, (*REFUSED, "an architecture of its own"), True),
    _case("engines", "a vision-language model", _save_vision, _text, _ALL),
    _case("training", "a base model", _save_vision, _training, (*REFUSED, "an architecture of its own", *HARMLESS)),
    _case("clip", "a folder", _saved_clip, _clip, (*REFUSED, "pickles beside")),
]
