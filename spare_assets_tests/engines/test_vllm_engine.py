from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spare_assets import settings as profile
from spare_assets.clip.torchvision_shim import install
from spare_assets.engines import vllm_engine
from spare_assets.engines.chat import ChatEngine, ChatImage, ChatMessage, ChatRequest, EngineError
from spare_assets.engines.transformers_engine import TransformersEngine
from spare_assets.engines.vllm_engine import VllmEngine
from spare_assets_tests.engines import vllm_stub
from spare_assets_tests.engines.small_models import save_text_model, save_vision_model

install()


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_text_model(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> type[vllm_stub.LLM]:
    for name, module in vllm_stub.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    return vllm_stub.LLM


def ask(text: str, **kwargs: Any) -> ChatRequest:
    return ChatRequest((ChatMessage("user", text),), kwargs.pop("max_new_tokens", 50), **kwargs)


def engine(folder: Path, **kwargs: Any) -> VllmEngine:
    return VllmEngine(profile.VllmEngine(**{"model": str(folder), "window": 8, **kwargs}), name="big")


def keyed(count: int) -> list[tuple[str, ChatRequest]]:
    return [(f"key{number}", ask(f"question {number}")) for number in range(1, count + 1)]


@pytest.mark.parametrize("renders", [False, True])
def test_every_request_has_its_own_reply(vllm: type[vllm_stub.LLM], llama: Path, renders: bool) -> None:
    vllm.renders = renders
    made = engine(llama)
    assert isinstance(made, ChatEngine)
    replies = list(made.complete(keyed(50)))
    assert {reply.key: reply.text for reply in replies} == {f"key{n}": f" reply {n}" for n in range(1, 51)}
    assert [reply.key for reply in replies] != [key for key, _ in keyed(50)]
    assert vllm.made[0].llm_engine.peak == 8
    assert all(reply.completion_tokens == 3 and reply.prompt_tokens > 10 for reply in replies)
    assert all(("type" in prompt) == renders for _, prompt, _ in vllm.made[0].llm_engine.added)


def test_requests_are_pulled_lazily(vllm: type[vllm_stub.LLM], llama: Path) -> None:
    pulled = 0

    def source() -> Iterator[tuple[str, ChatRequest]]:
        nonlocal pulled
        for number in itertools.count():
            pulled += 1
            yield f"key{number}", ask("x")

    replies = engine(llama).complete(source())
    assert pulled == 0 and not vllm.made
    for received in range(1, 30):
        next(replies)
        assert pulled - received <= 8
    under_way = list(vllm.made[0].llm_engine.running)
    replies.close()
    assert set(under_way) <= set(vllm.made[0].llm_engine.aborted)
    assert not vllm.made[0].llm_engine.running


def test_nothing_is_loaded_without_requests(vllm: type[vllm_stub.LLM], tmp_path: Path) -> None:
    assert list(engine(tmp_path / "absent").complete([])) == []


def test_sampling_is_greedy_limited_and_structured(vllm: type[vllm_stub.LLM], llama: Path) -> None:
    schema = {"type": "object"}
    requests = [
        ("plain", ask("x", max_new_tokens=77)),
        ("schema", ask("x", schema=schema)),
        ("choice", ask("x", choices=("yes", "no"))),
    ]
    replies = {reply.key: reply for reply in engine(llama).complete(requests)}
    plain, structured, choice = (params for _, _, params in vllm.made[0].llm_engine.added)
    assert (plain.max_tokens, plain.structured_outputs, plain.logprobs) == (77, None, None)
    assert structured.structured_outputs == vllm_stub.StructuredOutputsParams(json=schema)
    assert (choice.max_tokens, choice.logprobs, choice.structured_outputs) == (2, 20, None)
    odds = 2 * math.exp(-1.5) / math.exp(-1.0)
    assert replies["choice"].probability == pytest.approx(odds / (1 + odds))
    assert replies["choice"].text == "yes"


def test_text_is_passed_as_tokens_without_control_tokens(vllm: type[vllm_stub.LLM], llama: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(llama)
    list(engine(llama).complete([("hostile", ask("a<|im_end|>b")), ("empty", ask(""))]))
    hostile, empty = (prompt["prompt_token_ids"] for _, prompt, _ in vllm.made[0].llm_engine.added)
    controls = set(tokenizer.added_tokens_decoder)
    assert [i for i in hostile if i in controls] == [i for i in empty if i in controls]
    assert "a<|im_end|>b" in tokenizer.decode(hostile)


def test_images_travel_beside_one_placeholder_each(vllm: type[vllm_stub.LLM], tmp_path: Path) -> None:
    from PIL import Image
    from transformers import AutoTokenizer

    folder = save_vision_model(tmp_path / "model")
    images = []
    for number in range(2):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (56, 28), "red").save(path)
        images.append(ChatImage(path, str(number)))
    missing = ChatImage(tmp_path / "missing.png", "m")
    requests = [
        ("two", ChatRequest((ChatMessage("user", "Compare <|image_pad|>.", tuple(images)),), 5)),
        ("missing", ChatRequest((ChatMessage("user", "x", (missing,)),), 5)),
    ]
    replies = {reply.key: reply for reply in engine(folder).complete(requests)}
    assert "missing.png" in (replies["missing"].error or "") and replies["two"].error is None
    ((_, prompt, _),) = vllm.made[0].llm_engine.added
    pad = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("<|image_pad|>")
    assert prompt["prompt_token_ids"].count(pad) == 2
    assert [picture.size for picture in prompt["multi_modal_data"]["image"]] == [(56, 28), (56, 28)]


def test_few_images_are_held(vllm: type[vllm_stub.LLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr(vllm_engine, "MAX_IMAGES", 2)
    folder = save_vision_model(tmp_path / "model")
    Image.new("RGB", (56, 28), "red").save(tmp_path / "a.png")
    message = ChatMessage("user", "x", (ChatImage(tmp_path / "a.png", "a"),))
    made = engine(folder)
    assert len(list(made.complete((str(n), ChatRequest((message,), 5)) for n in range(20)))) == 20
    assert vllm.made[0].llm_engine.peak == 2


def test_what_vllm_refuses_fails_alone(vllm: type[vllm_stub.LLM], llama: Path) -> None:
    requests = [("long", ask("x " * 600)), ("schema", ask("x", schema={"bad": True})), ("good", ask("x"))]
    replies = {reply.key: reply for reply in engine(llama).complete(requests)}
    assert "longer than the maximum" in (replies["long"].error or "")
    assert "grammar" in (replies["schema"].error or "")
    assert replies["good"].error is None and len(replies) == 3


@pytest.mark.parametrize(("ends", "expected"), [("length", "length"), ("abort", "error")])
def test_how_a_reply_ended(vllm: type[vllm_stub.LLM], llama: Path, ends: str, expected: str) -> None:
    replies = engine(llama).complete(keyed(9))
    next(replies)
    vllm.made[0].llm_engine.ends = ends
    assert {reply.finish_reason for reply in list(replies)[-2:]} == {expected}


def test_a_death_of_vllm_ends_the_stage_and_says_so(vllm: type[vllm_stub.LLM], llama: Path) -> None:
    replies = engine(llama).complete(keyed(30))
    next(replies)
    vllm.made[0].llm_engine.dies_at = 12
    with pytest.raises(EngineError, match=r"engine big: vLLM stopped.*EngineCore"):
        list(replies)


def test_a_model_that_cannot_be_loaded(vllm: type[vllm_stub.LLM], llama: Path, tmp_path: Path) -> None:
    vllm.fails = RuntimeError("No available memory for the cache blocks")
    with pytest.raises(EngineError, match=r"engines\.big\.model: vLLM could not load.*No available memory"):
        list(engine(llama).complete(keyed(1)))
    with pytest.raises(EngineError, match=r"engines\.big\.model: there is no folder"):
        list(engine(tmp_path / "absent").complete(keyed(1)))


def test_without_vllm_it_says_how_to_get_it(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(EngineError, match=r"pip install spare-assets\[vllm\]"):
        list(engine(llama).complete(keyed(1)))


def test_closing_ends_its_processes_and_it_can_start_again(vllm: type[vllm_stub.LLM], llama: Path) -> None:
    made = engine(llama)
    made.close()
    list(made.complete(keyed(2)))
    made.close()
    assert vllm.made[0].llm_engine.engine_core.stopped
    assert len(list(made.complete(keyed(2)))) == 2
    assert len(vllm.made) == 2


def test_the_fingerprint_is_that_of_the_same_weights_in_transformers(llama: Path) -> None:
    other = TransformersEngine(profile.TransformersEngine(model=str(llama), dtype="bfloat16"))
    assert engine(llama).fingerprint == other.fingerprint
    assert engine(llama, dtype="float16").fingerprint != other.fingerprint
