"""The encoder: vectors that depend on their input alone, safetensors only, errors that name settings."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from spare_assets.clip import torchvision_shim
from spare_assets.clip.encoder import CONFIG_FILE, WEIGHTS_FILE, ClipEncoder, EncoderError
from spare_assets.sandbox import SANDBOX_CLIP

TEXTS = ["What is left of the red ring?", "What is above it?", "Where is the star?", "", "étoile ✨ " * 60]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small model with random weights."""
    torchvision_shim.install()
    import open_clip
    import torch
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("model")
    config = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    (path / CONFIG_FILE).write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), path / WEIGHTS_FILE)
    return path


@pytest.fixture(scope="module")
def encoder(folder: Path) -> ClipEncoder:
    return ClipEncoder(str(folder), device="cpu")


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    return tmp_path


def test_texts_become_unit_vectors_of_half_precision(encoder: ClipEncoder) -> None:
    vectors = encoder.encode_texts(text for text in TEXTS)
    assert vectors.dtype == np.float16
    assert vectors.shape == (5, 24) == (len(TEXTS), encoder.width)
    assert np.allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    assert encoder.encode_texts([]).shape == encoder.encode_images([]).shape == (0, 24)


def test_a_text_has_the_same_vector_in_any_company(encoder: ClipEncoder) -> None:
    words = [f"What is {side} the {thing}?" for side in ("left of", "above") for thing in range(60)]
    for one in (encoder, ClipEncoder(str(SANDBOX_CLIP), device="cpu")):
        together = dict(zip(words, one.encode_texts(words), strict=True))
        for company in (*([word] for word in words[:24]), words[::-1], words[7:40], words * 3):
            for text, vector in zip(company, one.encode_texts(company), strict=True):
                assert vector.tobytes() == together[text].tobytes()


def test_an_image_has_the_same_vector_in_any_company(encoder: ClipEncoder, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(40)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
    together = dict(zip(paths, encoder.encode_images(paths), strict=True))
    for company in (paths[:1], paths[::-1], paths[5:20]):
        for path, vector in zip(company, encoder.encode_images(company), strict=True):
            assert vector.tobytes() == together[path].tobytes()


def test_images_are_turned_upright_and_made_coloured(encoder: ClipEncoder, tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (48, 48), dtype=np.uint8))
    upright, turned, palette = (tmp_path / name for name in ("upright.png", "turned.png", "palette.png"))
    picture.convert("RGB").save(upright)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90).save(turned, exif=exif)
    picture.convert("P").save(palette)
    one, other, third = encoder.encode_images([upright, turned, palette])
    assert one.tobytes() == other.tobytes() == third.tobytes()


@pytest.mark.parametrize("content", [b"", b"<html>gone</html>", b"\xff\xd8\xff\xe0" + b"0" * 60])
def test_what_is_no_image_is_named(encoder: ClipEncoder, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(EncoderError, match=r"broken\.jpg: not a readable image"):
        encoder.encode_images([path])


def test_nothing_heavy_is_imported_before_the_first_vector(folder: Path) -> None:
    code = (
        "import sys; from spare_assets.clip.encoder import ClipEncoder;"
        f"encoders = [ClipEncoder({str(folder)!r}), ClipEncoder('ViT-B-32-quickgelu', 'openai')];"
        "print([(e.width, len(e.fingerprint), e.encode_texts([]).shape) for e in encoders]);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'open_clip', 'torchvision')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[(24, 16, (0, 24)), (512, 16, (0, 512))]"


def test_the_fingerprint_follows_the_files(copied: Path, encoder: ClipEncoder) -> None:
    assert ClipEncoder(str(copied)).fingerprint == encoder.fingerprint
    weights = bytearray((copied / WEIGHTS_FILE).read_bytes())
    weights[-1] ^= 1
    (copied / WEIGHTS_FILE).write_bytes(weights)
    assert ClipEncoder(str(copied)).fingerprint != encoder.fingerprint
    names = [ClipEncoder("ViT-B-32", tag).fingerprint for tag in ("openai", "laion2b_e16")]
    assert names[0] != names[1] == ClipEncoder("ViT-B-32", "laion2b_e16", device="cpu").fingerprint


def test_a_pickle_beside_is_never_opened(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr(torch, "load", refuse)
    (copied / "open_clip_pytorch_model.bin").write_bytes(b"pickle")
    assert ClipEncoder(str(copied)).encode_texts(["red"]).shape == (1, 24)
    (copied / WEIGHTS_FILE).unlink()
    for use in (lambda e: e.fingerprint, lambda e: e.encode_texts(["red"])):
        with pytest.raises(EncoderError, match=f"clip.model.*holds no {WEIGHTS_FILE}"):
            use(ClipEncoder(str(copied)))


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads((folder / CONFIG_FILE).read_text())
    change(document)
    (folder / CONFIG_FILE).write_text(json.dumps(document))


def test_what_is_wrong_with_a_folder_is_said(copied: Path) -> None:
    _edit(copied, lambda document: document["model_cfg"].update(embed_dim=30))
    with pytest.raises(EncoderError, match=r"clip\.model.*cannot be loaded on cpu"):
        ClipEncoder(str(copied), device="cpu").encode_texts(["red"])
    _edit(copied, lambda d: d["model_cfg"]["text_cfg"].update(tokenizer_kwargs={"bpe_path": "words.gz"}))
    with pytest.raises(EncoderError, match=r"holds no words\.gz"):
        ClipEncoder(str(copied)).encode_texts(["red"])
    _edit(copied, lambda document: document.pop("model_cfg"))
    with pytest.raises(EncoderError, match="not a configuration of open_clip"):
        _ = ClipEncoder(str(copied)).width
    (copied / CONFIG_FILE).write_text("{")
    with pytest.raises(EncoderError, match="not a configuration of open_clip"):
        _ = ClipEncoder(str(copied)).fingerprint
    (copied / CONFIG_FILE).unlink()
    with pytest.raises(EncoderError, match=f"holds no {CONFIG_FILE}"):
        ClipEncoder(str(copied)).encode_texts(["red"])


def test_damaged_weights_are_said_in_words(copied: Path) -> None:
    (copied / WEIGHTS_FILE).write_bytes(b"no tensors")
    with pytest.raises(EncoderError, match=r"clip\.model.*cannot be loaded on cpu"):
        ClipEncoder(str(copied), device="cpu").encode_texts(["red"])


def test_names_that_open_clip_does_not_know_are_refused() -> None:
    with pytest.raises(EncoderError, match=r"clip\.model.*'ViT-Z-99' is neither a folder nor an architecture"):
        _ = ClipEncoder("ViT-Z-99", "openai").fingerprint
    with pytest.raises(EncoderError, match=r"clip\.pretrained.*has no weights 'opnai'; use one of openai,"):
        ClipEncoder("ViT-B-32-quickgelu", "opnai").encode_texts(["red"])
    with pytest.raises(EncoderError, match=r"clip\.pretrained.*None"):
        ClipEncoder("ViT-B-32").encode_texts(["red"])
    with pytest.raises(EncoderError, match=r"activation function.*use ViT-B-32-quickgelu"):
        ClipEncoder("ViT-B-32", "openai").encode_texts(["red"])


def test_a_tag_is_fetched_as_safetensors_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []

    def absent(repository: str, file: str, revision: str | None = None) -> str:
        asked.append((repository, file, revision))
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    for tag, revision in (("openai", None), ("openai@0123abc", "0123abc")):
        with pytest.raises(EncoderError, match=r"clip\.pretrained.*cannot be had \(no network\)"):
            ClipEncoder("ViT-B-32-quickgelu", tag).encode_texts(["red"])
        assert asked.pop() == ("timm/vit_base_patch32_clip_224.openai", WEIGHTS_FILE, revision)
    assert asked == []


def test_weights_of_a_tag_come_with_their_own_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    import open_clip

    seen: dict[str, Any] = {}

    def create(name: str, **options: Any) -> None:
        seen.update(name=name, **options)
        raise RuntimeError("enough")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: "here.safetensors")
    monkeypatch.setattr(open_clip, "create_model_from_pretrained", create)
    with pytest.raises(EncoderError, match="enough"):
        ClipEncoder("ViT-B-16-SigLIP", "webli", device="cpu").encode_texts(["red"])
    assert (seen["name"], seen["pretrained"]) == ("ViT-B-16-SigLIP", "here.safetensors")
    assert (seen["image_mean"], seen["image_resize_mode"]) == ((0.5, 0.5, 0.5), "squash")


def test_the_shim_is_installed_once_and_lets_torchvision_load() -> None:
    code = (
        "import sys; from spare_assets.clip.torchvision_shim import install; before = len(sys.meta_path);"
        "install(); install(); assert len(sys.meta_path) == before + 1; assert 'torch' not in sys.modules;"
        "import torchvision.transforms; assert len(sys.meta_path) == before; install();"
        "assert len(sys.meta_path) == before"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
