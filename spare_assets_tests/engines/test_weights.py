from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from spare_assets.engines import weights
from spare_assets.engines.chat import EngineError
from spare_assets.engines.weights import find_model, number_format, weights_fingerprint

COMMIT = "a" * 40


def model_folder(folder: Path, content: bytes = b"weights", **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "dtype": "bfloat16", **config}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(content)
    return folder


def fingerprint(folder: Path, dtype: str = "auto", cache: Path | None = None) -> str:
    return weights_fingerprint(str(folder), None, None, dtype, cache)


def test_equal_files_make_equal_models_wherever_they_lie(tmp_path: Path) -> None:
    one, other = model_folder(tmp_path / "one"), model_folder(tmp_path / "other")
    (other / "README.md").write_text("not part of the model")
    assert fingerprint(one) == fingerprint(other)
    assert len(fingerprint(one)) == 64


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_every_file_that_decides_a_reply_counts(tmp_path: Path, file: str) -> None:
    folder = model_folder(tmp_path)
    before = fingerprint(folder)
    content = b'{"changed": 1}' if file.endswith("json") else b"changed"
    (folder / file).write_bytes(content)
    assert fingerprint(folder) != before


def test_the_dtype_counts_and_auto_is_the_released_one(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    assert fingerprint(folder, "auto") == fingerprint(folder, "bfloat16") != fingerprint(folder, "float32")


def test_number_format_of_auto(tmp_path: Path) -> None:
    for config, expected in (
        ({"dtype": "float16"}, "float16"),
        ({"dtype": None, "torch_dtype": "bfloat16"}, "bfloat16"),
        ({"dtype": None, "text_config": {"dtype": "float16"}}, "float16"),
        ({"dtype": None}, "float32"),
    ):
        files = find_model(str(model_folder(tmp_path / expected, **config)))  # type: ignore[arg-type]
        assert number_format(files, "auto") == expected
        assert number_format(files, "float32") == "float32"


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    (folder / "model.safetensors").unlink()
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    index = {"weight_map": {"a": shards[1], "b": shards[0], "c": shards[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / shards[0]).write_bytes(b"1")
    with pytest.raises(EngineError, match=f"lacks 1 of 2 weight files, among them {shards[1]}"):
        find_model(str(folder))
    (folder / shards[1]).write_bytes(b"2")
    assert find_model(str(folder)).weights == tuple(shards)
    before = fingerprint(folder)
    (folder / shards[1]).write_bytes(b"3")
    assert fingerprint(folder) != before


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "..\\outside"])
def test_an_index_does_not_reach_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(EngineError, match="no file name within"):
        find_model(str(folder))


def test_what_is_no_model_is_said_with_the_setting(tmp_path: Path) -> None:
    def problem(model: str, gguf_file: str | None = None) -> str:
        with pytest.raises(EngineError) as raised:
            find_model(model, None, gguf_file, "engines.judge.model")
        assert str(raised.value).startswith("engines.judge.model")
        return str(raised.value)

    assert "there is no folder" in problem(str(tmp_path / "absent"))
    assert "there is no folder" in problem("./models/absent")
    assert "holds no weights" in problem(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    assert "only pickled weights" in problem(str(tmp_path))
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    assert "holds no other.gguf; it has small.gguf" in problem(str(tmp_path), "other.gguf")
    assert "no file name within" in problem(str(tmp_path), "../small.gguf")
    assert "is a file" in problem(str(tmp_path / "small.gguf"))
    (tmp_path / "pytorch_model.bin").unlink()
    assert "name the file in gguf_file: small.gguf" in problem(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert "holds no config.json" in problem(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    assert find_model(str(tmp_path)).weights == ("model.safetensors",)
    with pytest.raises(EngineError, match=r"config\.json: not readable as JSON"):
        weights_fingerprint(str(tmp_path), None, None, "auto")
    assert "package 'no_such_package' is not installed" in problem("package:no_such_package")
    assert "is not installed" in problem("package:../etc")


def test_a_gguf_file_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    files = find_model(str(tmp_path), None, "small.gguf")
    assert files.weights == ("small.gguf",)
    assert number_format(files, "auto") == "bfloat16"
    assert weights_fingerprint(str(tmp_path), None, "small.gguf", "auto")


def test_a_package_can_carry_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = model_folder(tmp_path / "carries_a_model")
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_model("package:carries_a_model").folder == package


def test_a_tokenizer_of_its_own_counts(tmp_path: Path) -> None:
    model, tokenizer = model_folder(tmp_path / "model"), model_folder(tmp_path / "tokenizer")
    apart = weights_fingerprint(str(model), None, None, "auto", tokenizer=str(tokenizer))
    (tokenizer / "tokenizer.json").write_text('{"other": 1}')
    assert weights_fingerprint(str(model), None, None, "auto", tokenizer=str(tokenizer)) != apart
    assert fingerprint(model) != apart


def test_large_weights_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = model_folder(tmp_path / "model"), tmp_path / "home" / "weights.json"
    first = fingerprint(folder, cache=cache)
    read: list[Path] = []
    opened = Path.open

    def noting(self: Path, *args: object, **kwargs: object) -> object:
        read.append(self)
        return opened(self, *args, **kwargs)  # type: ignore[arg-type, call-overload]

    monkeypatch.setattr(Path, "open", noting)
    assert fingerprint(folder, cache=cache) == first
    assert folder / "model.safetensors" not in read
    (folder / "model.safetensors").write_bytes(b"changed")
    changed = fingerprint(folder, cache=cache)
    assert changed != first and folder / "model.safetensors" in read
    # Equal size, another time of change.
    (folder / "model.safetensors").write_bytes(b"altered")
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert fingerprint(folder, cache=cache) not in {first, changed}
    for damaged in ("{", "[]", '{"' + str(folder / "model.safetensors") + '": 3}'):
        cache.write_text(damaged)
        assert fingerprint(folder, cache=cache) == fingerprint(folder)


# the hub, without a network


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def snapshot(hub_cache: Path) -> Path:
    repository = hub_cache / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return model_folder(repository / "snapshots" / COMMIT)


def test_a_snapshot_on_this_disk_needs_no_network(hub_cache: Path, tmp_path: Path) -> None:
    folder = snapshot(hub_cache)
    assert find_model("owner/name").folder == folder
    assert find_model("owner/name", COMMIT).folder == folder
    assert weights_fingerprint("owner/name", COMMIT, None, "auto") == fingerprint(model_folder(tmp_path / "copy"))


def test_what_the_hub_does_not_give_is_said_with_what_to_do(hub_cache: Path) -> None:
    with pytest.raises(EngineError, match=r"(?s)engines\.x\.model: owner/absent .*or name a folder"):
        find_model("owner/absent", setting="engines.x.model")
    with pytest.raises(EngineError, match="at revision b"):
        find_model("owner/absent", "b" * 40)
    with pytest.raises(EngineError, match="Repo id must"):
        find_model("not a valid id!")
    (snapshot(hub_cache) / "model.safetensors").unlink()
    with pytest.raises(EngineError, match="nor whole in the local hub cache"):
        find_model("owner/name")


def test_no_model_library_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from spare_assets.engines.weights import weights_fingerprint as f;"
        "f(sys.argv[1], None, None, 'auto'); assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(model_folder(tmp_path))], check=True)
    assert "torch" not in vars(weights)
