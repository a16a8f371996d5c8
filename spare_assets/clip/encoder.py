"""Texts and image files to unit vectors, with an open_clip model.

Which model is loaded, from where and how safely is decided here. What the vectors are compared for, where
they are stored, and which images are asked for are not.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spare_assets.captions.picture import PictureError, open_upright
from spare_assets.clip import torchvision_shim

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
CPU_BATCH = 32
"""Most items encoded together on a CPU: larger batches are no faster there, and the last one is filled up."""

_Item = TypeVar("_Item")


class EncoderError(RuntimeError):
    """A model cannot be loaded or an image cannot be read; the message names the setting or the file."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A model in memory with what goes around it."""

    torch: Any
    model: Any
    preprocess: Callable[[Any], Any]
    tokenize: Callable[[list[str]], Any]
    device: str


class ClipEncoder:
    """An open_clip model as a function from texts or image files to unit vectors (paper 3.3, checks 1 and 4).

    `model` is an architecture of open_clip with a `pretrained` tag (`openai`, or pinned to a commit of its
    hub repository: `openai@<commit>`), or a folder that holds open_clip_config.json,
    open_clip_model.safetensors and, where text_cfg.tokenizer_kwargs names a bpe_path, that vocabulary.
    Weights load from safetensors only. `device` is `cpu`, `cuda`, ... or `auto`. Nothing heavy is imported
    before the first vector is asked for.

    On a CPU equal inputs give bit-equal vectors whatever they are batched with: all batches have one size,
    the last one filled up. Across machines, thread counts and devices they are equal up to rounding.
    """

    def __init__(self, model: str, pretrained: str | None = None, device: str = "auto", batch_size: int = 256) -> None:
        self.model = model
        self.pretrained = pretrained
        self.device = device
        self.batch_size = batch_size
        self._folder = Path(model).expanduser() if Path(model).expanduser().is_dir() else None

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the model, 16 hexadecimal digits: its files' content, or its architecture and tag.

        Raises EncoderError where a folder lacks a file, or the name is neither a folder nor an architecture.
        """
        digest = hashlib.sha256()
        if self._folder:
            for path in (self._folder / CONFIG_FILE, self._weights_in_folder(), self._vocabulary()):
                if path:
                    digest.update(f"{path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        else:
            digest.update(json.dumps([self._config["embed_dim"], self.model, self.pretrained]).encode())
        return digest.hexdigest()[:16]

    @property
    def width(self) -> int:
        """Numbers in a vector. Raises EncoderError as `fingerprint` does."""
        return int(self._config["embed_dim"])

    def encode_texts(self, texts: Iterable[str]) -> NDArray[np.float16]:
        """Vectors of texts, [count, width], unit length.

        Raises EncoderError where the model cannot be loaded.
        """

        def encode(loaded: _Loaded, batch: list[str]) -> Any:
            return loaded.model.encode_text(loaded.tokenize(batch).to(loaded.device))

        return self._encode(texts, encode)

    def encode_images(self, paths: Iterable[Path]) -> NDArray[np.float16]:
        """Vectors of image files, [count, width], unit length.

        Raises EncoderError naming a file that is no readable image, or where the model cannot be loaded.
        """
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:

            def encode(loaded: _Loaded, batch: list[Path]) -> Any:
                pixels = list(pool.map(lambda path: _pixels(path, loaded.preprocess), batch))
                return loaded.model.encode_image(loaded.torch.stack(pixels).to(loaded.device))

            return self._encode(paths, encode)

    def _encode(self, items: Iterable[_Item], encode: Callable[[_Loaded, list[_Item]], Any]) -> NDArray[np.float16]:
        remaining = iter(items)
        parts = [np.empty((0, self.width), dtype=np.float16)]
        batch = list(islice(remaining, self.batch_size))
        if not batch:
            return parts[0]
        loaded = self._loaded
        torch, cuda = loaded.torch, loaded.device.startswith("cuda")
        size = self.batch_size if cuda else min(self.batch_size, CPU_BATCH)
        remaining = chain(batch, remaining)
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.float16, enabled=cuda):
            while batch := list(islice(remaining, size)):
                # Kernels round differently for other shapes: one shape for all keeps equal inputs equal.
                vectors = encode(loaded, batch + batch[-1:] * (size - len(batch)))
                unit = torch.nn.functional.normalize(vectors[: len(batch)].float(), dim=-1)
                parts.append(unit.cpu().numpy().astype(np.float16))
        return np.concatenate(parts)

    @cached_property
    def _loaded(self) -> _Loaded:
        config, folder = self._config, self._folder
        torchvision_shim.install()
        import open_clip
        import torch
        from safetensors import SafetensorError

        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if folder:
            self._weights_in_folder()
            name, options = f"local-dir:{folder}", {}
        else:
            name, options = self.model, self._weights_of_tag(config)
        vocabulary = self._vocabulary()
        tokenizer_options = {"bpe_path": str(vocabulary)} if vocabulary else {}
        try:
            model, preprocess = open_clip.create_model_from_pretrained(name, device=device, **options)
            tokenize = open_clip.get_tokenizer(name, **tokenizer_options)
        except (RuntimeError, ValueError, OSError, KeyError, TypeError, SafetensorError) as error:
            raise EncoderError(f"setting `clip.model`: {self.model!r} cannot be loaded on {device}: {error}") from error
        return _Loaded(torch, model.eval(), preprocess, tokenize, device)

    @cached_property
    def _config(self) -> dict[str, Any]:
        """The architecture, read without importing open_clip."""
        if self._folder:
            path = self._folder / CONFIG_FILE
        else:
            package = importlib.util.find_spec("open_clip")
            if package is None or package.origin is None:
                raise EncoderError("open_clip is not installed: pip install open_clip_torch")
            path = Path(package.origin).parent / "model_configs" / f"{Path(self.model).name}.json"
            if not path.is_file():
                raise EncoderError(
                    f"setting `clip.model`: {self.model!r} is neither a folder nor an architecture such as "
                    f"ViT-B-32-quickgelu; give a folder holding {CONFIG_FILE} and {WEIGHTS_FILE}, or one of "
                    "the names of open_clip.list_models()"
                )
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            config: dict[str, Any] = document["model_cfg"] if self._folder else document
            config["embed_dim"], config["text_cfg"], config["vision_cfg"]
        except FileNotFoundError as error:
            raise EncoderError(f"setting `clip.model`: {self.model} holds no {CONFIG_FILE}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EncoderError(f"{path}: not a configuration of open_clip: {error!r}") from error
        return config

    def _vocabulary(self) -> Path | None:
        """The vocabulary a folder brings along, inside that folder."""
        name = (self._config["text_cfg"].get("tokenizer_kwargs") or {}).get("bpe_path")
        if self._folder is None or name is None:
            return None
        path = self._folder / Path(str(name)).name
        if not path.is_file():
            raise EncoderError(f"setting `clip.model`: {self.model} holds no {path.name}, its vocabulary")
        return path

    def _weights_in_folder(self) -> Path:
        path = (self._folder or Path()) / WEIGHTS_FILE
        if not path.is_file():
            raise EncoderError(
                f"setting `clip.model`: {self.model} holds no {WEIGHTS_FILE}; no other kind of file is loaded"
            )
        return path

    def _weights_of_tag(self, config: dict[str, Any]) -> dict[str, Any]:
        """Options that make open_clip load a tag's safetensors: left alone, it falls back to a pickle."""
        from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

        tag, _, revision = (self.pretrained or "").partition("@")
        known = list_pretrained_tags_by_model(self.model)
        entry = get_pretrained_cfg(self.model, tag) if tag else {}
        if not entry:
            raise EncoderError(
                f"setting `clip.pretrained`: {self.model} has no weights {self.pretrained!r}; "
                f"use one of {', '.join(known) or 'none: choose another clip.model'}"
            )
        if bool(entry.get("quick_gelu")) != bool(config.get("quick_gelu")):
            other = f"{self.model}-quickgelu" if entry.get("quick_gelu") else self.model.replace("-quickgelu", "")
            raise EncoderError(
                f"setting `clip.model`: weights {tag!r} were trained with another activation function than "
                f"{self.model} has; use {other}"
            )
        repository, _, file = str(entry.get("hf_hub") or "").rpartition("/")
        if not repository or (file and not file.endswith(".safetensors")):
            raise EncoderError(
                f"setting `clip.pretrained`: weights {tag!r} are not published as safetensors: use another"
            )
        from huggingface_hub import hf_hub_download

        try:
            weights = hf_hub_download(repository, file or WEIGHTS_FILE, revision=revision or None)
        except Exception as error:
            raise EncoderError(
                f"setting `clip.pretrained`: {WEIGHTS_FILE} of https://huggingface.co/{repository} cannot be "
                f"had ({error}); check the network, or fetch it and set clip.model to its folder"
            ) from error
        return {
            "pretrained": weights,
            "image_mean": entry.get("mean"),
            "image_std": entry.get("std"),
            "image_interpolation": entry.get("interpolation"),
            "image_resize_mode": entry.get("resize_mode"),
        }


def _pixels(path: Path, preprocess: Callable[[Any], Any]) -> Any:
    """One image as the model takes it: upright, in colour, resized and normalised."""
    try:
        return preprocess(open_upright(path))
    except (PictureError, OSError, ValueError) as error:
        raise EncoderError(f"{path}: not a readable image: {error}") from error
