"""Which files a model consists of, where they lie, and the hash that stands for them.

A model is a local folder, a repository of the Hugging Face hub, or an installed package that carries weights.
Weights are safetensors or GGUF; pickles are never accepted. Loading them is the engines' business: no model
library is imported here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from spare_assets import settings as profile
from spare_assets.engines.chat import EngineError
from spare_assets.storage.durability import write_whole

PACKAGE_PREFIX = "package:"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
# Everything beside the weights that decides what a prompt becomes and where a reply ends.
COMPANIONS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
_LARGE_BYTES = 1_000_000_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this disk: its folder, and its weight files by name within it."""

    folder: Path
    weights: tuple[str, ...]
    gguf_file: str | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        """Content of config.json; empty where there is none (GGUF)."""
        path = self.folder / "config.json"
        return _json_object(path) if path.is_file() else {}


def find_model(
    model: str, revision: str | None = None, gguf_file: str | None = None, setting: str = "model"
) -> ModelFiles:
    """The files of a model, fetched from the hub where they are not on this disk.

    `setting` is the setting that names the model, for messages. Raises EngineError saying what was looked for.
    """
    if gguf_file is not None:
        _plain_name(gguf_file, f"{setting}: gguf_file")
    if (folder := local_folder(model, setting)) is not None:
        if missing := _missing(folder, gguf_file):
            raise EngineError(f"{setting}: {folder} {missing}")
    else:
        folder = _hub_snapshot(model, revision, gguf_file, setting)
    return ModelFiles(folder, _weight_names(folder, gguf_file), gguf_file)


def find_tokenizer(tokenizer: str, setting: str) -> Path:
    """Folder of a tokenizer that is named apart from its model. Raises EngineError."""
    folder = local_folder(tokenizer, setting)
    return folder if folder is not None else _download(tokenizer, None, ["*.json", "*.txt", "*.model"], setting)


def weights_fingerprint(
    model: str,
    revision: str | None,
    gguf_file: str | None,
    dtype: str,
    cache: Path | None = None,
    *,
    tokenizer: str | None = None,
    setting: str = "model",
) -> str:
    """Hash of a model: weights, configuration, tokenizer and number format; 64 hexadecimal characters.

    Equal wherever equal files lie. `cache` is a small JSON file that remembers hashes by path, size and time of
    change, so that large weights are read once. Raises EngineError as find_model does.
    """
    files = find_model(model, revision, gguf_file, setting)
    hashes = {name: files.folder / name for name in (*files.weights, *_companions(files.folder))}
    if tokenizer is not None:
        folder = find_tokenizer(tokenizer, f"{setting} (tokenizer)")
        hashes |= {f"tokenizer/{name}": folder / name for name in _companions(folder)}
    remembered = _Remembered(cache)
    document = {name: remembered.sha256(path) for name, path in hashes.items()}
    remembered.save()
    return profile.fingerprint(document, number_format(files, dtype), length=64)


def find_adapter(adapter: str, setting: str) -> Path:
    """Folder of a LoRA adapter. Raises EngineError where it holds none as safetensors, or one of another kind."""
    folder = Path(adapter).expanduser()
    for name in ADAPTER:
        if not (folder / name).is_file():
            raise EngineError(f"{setting}: {folder / name} is absent; name a folder that holds a LoRA adapter")
    config = _json_object(folder / ADAPTER[1])
    if (kind := config.get("peft_type")) != "LORA":
        raise EngineError(f"{setting}: {folder} holds an adapter of kind {str(kind)[:40]!r}; only LORA is loaded")
    # peft would import whatever module the file names for it.
    if config.get("megatron_config") is not None:
        raise EngineError(f"{setting}: {folder} asks for code of its own (megatron_config), which is never run")
    return folder


def adapter_fingerprint(adapter: str, cache: Path | None, setting: str) -> str:
    """Hash of a LoRA adapter's weights and configuration; 64 hexadecimal characters.

    Raises EngineError as find_adapter does.
    """
    folder = find_adapter(adapter, setting)
    remembered = _Remembered(cache)
    document = {name: remembered.sha256(folder / name) for name in ADAPTER}
    remembered.save()
    return profile.fingerprint(document, length=64)


def number_format(files: ModelFiles, dtype: str) -> str:
    """The dtype a model runs in: the one set, or for `auto` the one its weights were released in.

    The same on every machine, so that `auto` never makes two models of one. A GGUF file says nothing: bfloat16.
    """
    if dtype != "auto":
        return dtype
    config = files.config
    for section in (config, config.get("text_config") or {}):
        for key in ("dtype", "torch_dtype"):
            if section.get(key) in {"bfloat16", "float16", "float32"}:
                return str(section[key])
    return "bfloat16" if files.gguf_file else "float32"


def local_folder(model: str, setting: str) -> Path | None:
    """The folder that a model's name means, or None where it is a hub id.

    Raises EngineError for a path or package that is not there.
    """
    if model.startswith(PACKAGE_PREFIX):
        package = model.removeprefix(PACKAGE_PREFIX)
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise EngineError(
                f"{setting}: the package {package!r} is not installed; pip install {package.replace('_', '-')}"
            )
        return Path(spec.submodule_search_locations[0])
    path = Path(model).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        raise EngineError(f"{setting}: {model} is a file; name its folder, and a GGUF file in gguf_file")
    if model.startswith(("/", ".", "~")) or model.count("/") > 1:
        raise EngineError(f"{setting}: there is no folder {path.absolute()}; correct it, or give a hub id")
    return None


def _hub_snapshot(model: str, revision: str | None, gguf_file: str | None, setting: str) -> Path:
    patterns = ["*.json", "*.txt", "*.model", "*.jinja", gguf_file or "*.safetensors"]
    return _download(model, revision, patterns, setting, gguf_file)


def _download(
    model: str, revision: str | None, patterns: list[str], setting: str, gguf_file: str | None = None
) -> Path:
    """Snapshot of a hub repository: the one on this disk where it is whole, else fetched."""
    from huggingface_hub import snapshot_download

    wants_weights = gguf_file is not None or "*.safetensors" in patterns
    problem = ""
    for only_local in (True, False):
        try:
            folder = Path(
                snapshot_download(
                    model,
                    revision=revision,
                    allow_patterns=patterns,
                    ignore_patterns=None if gguf_file else ["*/*"],
                    local_files_only=only_local,
                )
            )
        except Exception as error:  # whatever hub, network or disk raise, the model can't be had
            problem = str(error).strip().partition("\n")[0] or type(error).__name__
            continue
        problem = _missing(folder, gguf_file) if wants_weights else ""
        if not problem:
            return folder
    where = f"{model} at revision {revision}" if revision else model
    raise EngineError(
        f"{setting}: {where} is neither a folder here nor whole in the local hub cache, and it could not be had "
        f"from the hub ({problem}). Correct the id or revision, connect to the network once, or name a folder "
        "that holds config.json, tokenizer and *.safetensors"
    )


def _missing(folder: Path, gguf_file: str | None) -> str:
    """What keeps a folder from being a model, in words; empty where nothing does."""
    if gguf_file is not None:
        if (folder / gguf_file).is_file():
            return ""
        present = sorted(path.name for path in folder.glob("*.gguf"))
        return f"holds no {gguf_file}" + (f"; it has {', '.join(present)}" if present else "")
    try:
        names = _weight_names(folder, None)
    except EngineError as error:
        return str(error)
    if not names:
        if any(True for pattern in _PICKLES for _ in folder.glob(pattern)):
            return (
                "holds only pickled weights (.bin, .pt), which are never loaded because they can run code; "
                "convert them to safetensors first"
            )
        if ggufs := sorted(path.name for path in folder.glob("*.gguf")):
            return f"holds no safetensors; for GGUF name the file in gguf_file: {', '.join(ggufs)}"
        return f"holds no weights: neither {WEIGHTS} nor {WEIGHTS_INDEX}"
    if absent := [name for name in names if not (folder / name).is_file()]:
        return f"lacks {len(absent)} of {len(names)} weight files, among them {absent[0]}"
    return "" if (folder / "config.json").is_file() else "holds no config.json"


def _weight_names(folder: Path, gguf_file: str | None) -> tuple[str, ...]:
    if gguf_file is not None:
        return (gguf_file,)
    if (folder / WEIGHTS).is_file():
        return (WEIGHTS,)
    index = folder / WEIGHTS_INDEX
    if not index.is_file():
        return ()
    names = _json_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise EngineError(f"has a {WEIGHTS_INDEX} without a weight_map")
    return tuple(sorted({_plain_name(str(name), WEIGHTS_INDEX) for name in names.values()}))


def _plain_name(name: str, where: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise EngineError(f"{where}: {name!r} is no file name within the model's folder")
    return name


def _companions(folder: Path) -> list[str]:
    return [name for name in COMPANIONS if (folder / name).is_file()]


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise EngineError(f"{path}: expected a JSON object")
    return content


class _Remembered:
    """Hashes of files, remembered by path, size and time of change in a JSON file."""

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._entries: dict[str, Any] = {}
        self._changed = False
        if cache is not None and cache.is_file():
            try:
                self._entries = _json_object(cache)
            except EngineError:
                # Only a memory: a damaged one is made anew.
                self._entries = {}

    def sha256(self, path: Path) -> str:
        path = path.resolve()
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns]
        entry = self._entries.get(str(path))
        if isinstance(entry, list) and len(entry) == 3 and entry[:2] == state and isinstance(entry[2], str):
            return entry[2]
        if status.st_size > _LARGE_BYTES:
            log.info("hashing %s (%.1f GB), once", path, status.st_size / 1e9)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._entries[str(path)] = [*state, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        if self._cache is None or not self._changed:
            return
        write_whole(self._cache, json.dumps(self._entries, indent=1, sort_keys=True).encode())
