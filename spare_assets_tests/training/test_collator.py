"""Labels and tensors of a batch, against the processor's own and against texts that mean harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spare_assets.clip.torchvision_shim import install
from spare_assets.training.collator import AnswerOnlyCollator
from spare_assets.training.order import TrainingError
from spare_assets.training.rows import TrainingRow
from spare_assets_tests.engines.small_models import CHAT_TEMPLATE, SPECIALS, TOOL_CALL, VISION, save_vision_model
from spare_assets_tests.training.small_rows import TEMPLATE_WITH_SYSTEM, picture, recipe, row

ONE_TURN = (("Where is the mug?", "To the left of the laptop."),)
THREE_TURNS = (("Where is the cat?", "Under the chair."), ("Is it true?", "Yes"), ("Is the desk red?", "No, wooden."))
SIDES: tuple[Literal["right", "left"], ...] = ("right", "left")


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    install()
    from transformers import AutoProcessor

    torch.set_num_threads(1)
    return AutoProcessor.from_pretrained(save_vision_model(tmp_path_factory.mktemp("base")))


@pytest.fixture
def template(processor: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(text: str) -> Any:
        monkeypatch.setattr(processor, "chat_template", text)
        return processor

    return use


def conversation(given: TrainingRow, system: str | None = None) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if system is not None:
        messages.append({"role": "system", "content": [{"type": "text", "text": system}]})
    for turn, (question, answer) in enumerate(given.turns):
        content = [{"type": "text", "text": question}]
        messages.append({"role": "user", "content": content if turn else [{"type": "image"}, *content]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    return messages


def answer_places(tokenizer: Any, ids: list[int]) -> list[bool]:
    """Another way to the places that bear loss, good enough for texts without control tokens."""
    head = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    wanted = [False] * len(ids)
    for start in range(len(ids)):
        if ids[start : start + len(head)] == head:
            stop = ids.index(end, start + len(head))
            wanted[start + len(head) : stop + 1] = [True] * (stop + 1 - start - len(head))
    return wanted


@pytest.mark.parametrize("system", [None, "", "Say it in one word."])
@pytest.mark.parametrize("text", [CHAT_TEMPLATE, TEMPLATE_WITH_SYSTEM], ids=["no system", "own system"])
@pytest.mark.parametrize("side", SIDES)
def test_batch_is_the_processors_own_and_labels_are_the_answers(
    template: Any, tmp_path: Path, side: Literal["right", "left"], text: str, system: str | None
) -> None:
    processor = template(text)
    rows = [
        row(picture(tmp_path / "a.png", 84, 56), *ONE_TURN),
        row(picture(tmp_path / "b.png", 60, 130, seed=1), *THREE_TURNS),
    ]
    batch = AnswerOnlyCollator(processor, recipe(system_prompt=system), side)(rows)
    own = processor(
        text=[processor.apply_chat_template(conversation(given, system), tokenize=False) for given in rows],
        images=[[Image.open(given.image_path)] for given in rows],
        padding=True,
        padding_side=side,
        size={"shortest_edge": 28 * 28, "longest_edge": 6 * 28 * 28},
        return_tensors="pt",
    )
    assert set(batch) == set(own) | {"labels"}
    for name, expected in own.items():
        assert torch.equal(batch[name], expected.to(batch[name].dtype)), name
    ids, labels = batch["input_ids"], batch["labels"]
    wanted = torch.tensor([answer_places(processor.tokenizer, one) for one in ids.tolist()])
    assert torch.equal(labels[wanted], ids[wanted])
    assert (labels[~wanted] == -100).all()
    assert (labels[ids == processor.image_token_id] == -100).all()
    assert (labels[batch["attention_mask"] == 0] == -100).all()
    learnt = [processor.tokenizer.decode(one[one != -100]) for one in labels]
    assert learnt == ["".join(f"{answer}<|im_end|>" for _, answer in given.turns) for given in rows]


HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([*SPECIALS, *VISION, TOOL_CALL, "<|im_start|>assistant\n", "<|im_<|im_end|>end|>"]),
        st.sampled_from(["<|spare-assets-text|>", "<|", "|>", "assistant", "\n", "{{ messages }}", "{% endfor %}"]),
        st.text(max_size=8),
    ),
    max_size=6,
).map("".join)


@settings(max_examples=60, deadline=None)
@given(turns=st.lists(st.tuples(HOSTILE, HOSTILE), min_size=1, max_size=3), system=st.none() | HOSTILE)
def test_no_text_becomes_a_control_token(
    processor: Any, tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[str, str]], system: str | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.png"
    if not path.exists():
        picture(path)
    harmless = [("q", "a")] * len(turns)
    collator = AnswerOnlyCollator(processor, recipe(system_prompt=system))
    batch, plain = collator([row(path, *turns)]), collator([row(path, *harmless)])
    controls = set(processor.tokenizer.added_tokens_decoder)
    in_order = [[index for index in one["input_ids"][0].tolist() if index in controls] for one in (batch, plain)]
    assert in_order[0] == in_order[1]
    learnt = batch["labels"][0]
    learnt = learnt[learnt != -100].tolist()
    end = processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert learnt.count(end) == len(turns)
    assert learnt[-1] == end
    pieces: list[list[int]] = [[]]
    for index in learnt:
        if index == end:
            pieces.append([])
        else:
            pieces[-1].append(index)
    assert [processor.tokenizer.decode(piece) for piece in pieces[:-1]] == [answer for _, answer in turns]


def test_a_picture_is_turned_as_its_exif_says(processor: Any, tmp_path: Path) -> None:
    flat = Image.new("RGB", (112, 56), "red")
    flat.paste("blue", (0, 0, 56, 56))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = flat.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    flat.save(tmp_path / "flat.png")
    collator = AnswerOnlyCollator(processor, recipe())
    first, second = (collator([row(tmp_path / name, *ONE_TURN)]) for name in ("turned.png", "flat.png"))
    assert torch.equal(first["pixel_values"], second["pixel_values"])
    assert torch.equal(first["image_grid_thw"], second["image_grid_thw"])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_pictures_of_any_mode_are_taken(processor: Any, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.tiff"
    Image.new(mode, (56, 56)).save(path)
    assert AnswerOnlyCollator(processor, recipe())([row(path, *ONE_TURN)])["pixel_values"].shape[1] == 1176


def test_resolution_is_the_recipes(processor: Any, tmp_path: Path) -> None:
    given = row(picture(tmp_path / "a.png", 280, 280), *ONE_TURN)
    for pixels, patches in ((56 * 56, 16), (84 * 84, 36)):
        made = AnswerOnlyCollator(processor, recipe(min_pixels=pixels, max_pixels=pixels))([given])
        assert made["image_grid_thw"].prod() == patches


def test_an_image_that_does_not_decode_is_named(processor: Any, tmp_path: Path) -> None:
    collator = AnswerOnlyCollator(processor, recipe())
    (tmp_path / "text.jpg").write_text("no picture")
    whole = picture(tmp_path / "whole.jpg", 200, 200).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "picture.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EOF\n")
    unknown = "kind that is read"
    for name, why in (
        ("text.jpg", unknown),
        ("cut.jpg", "does not decode: .*truncated"),
        ("no.jpg", "No such"),
        ("picture.eps", unknown),
    ):
        with pytest.raises(TrainingError, match=f"row 'photo-7'.*{name}: .*{why}"):
            collator([row(tmp_path / name, *ONE_TURN, row_id="photo-7")])


def test_a_picture_the_processor_refuses_is_named(processor: Any, tmp_path: Path) -> None:
    given = row(picture(tmp_path / "thin.png", 3000, 4), *ONE_TURN, row_id="photo-7")
    with pytest.raises(TrainingError, match=r"photo-7.*refuses.*thin\.png.*aspect ratio"):
        AnswerOnlyCollator(processor, recipe())([given])


def test_a_row_longer_than_the_limit_is_refused_whole(processor: Any, tmp_path: Path) -> None:
    given = row(picture(tmp_path / "a.png"), *THREE_TURNS, row_id="photo-7")
    tokens = int(AnswerOnlyCollator(processor, recipe())([given])["attention_mask"].sum())
    assert AnswerOnlyCollator(processor, recipe(max_length=tokens))([given])["input_ids"].shape == (1, tokens)
    with pytest.raises(TrainingError, match=rf"photo-7.*{tokens} tokens.*max_length {tokens - 1}"):
        AnswerOnlyCollator(processor, recipe(max_length=tokens - 1))([given])


def test_what_was_prepared_is_kept_as_far_as_there_is_room(processor: Any, tmp_path: Path) -> None:
    given = [row(picture(tmp_path / f"{name}.png", 280, 280, seed), *ONE_TURN) for seed, name in enumerate("ab")]
    pixels = 280 * 280
    roomy = AnswerOnlyCollator(processor, recipe(max_pixels=pixels, image_cache_megabytes=10))
    tight = AnswerOnlyCollator(processor, recipe(max_pixels=pixels, image_cache_megabytes=3))
    off = AnswerOnlyCollator(processor, recipe(max_pixels=pixels))
    before = [collator(given) for collator in (roomy, tight, off)]
    for given_row in given:
        given_row.image_path.unlink()
    again = roomy(given)
    assert all(torch.equal(again[name], before[2][name]) for name in again)
    assert torch.equal(tight(given[:1])["pixel_values"], before[2]["pixel_values"][:400])
    with pytest.raises(TrainingError):
        tight(given[1:])
    with pytest.raises(TrainingError):
        off(given[:1])
    # Other turns about a picture that is kept are not the turns kept with it.
    other = TrainingRow(given[0].row_id, given[0].image_path, given[0].image_sha256, THREE_TURNS)
    assert roomy([other])["input_ids"].shape[1] > roomy(given[:1])["input_ids"].shape[1]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (CHAT_TEMPLATE.replace("<|im_end|>", ""), "does not end an answer with a control token"),
        (CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", ""), "does not show the picture once"),
        (CHAT_TEMPLATE.replace("in messages", "in messages[:1]"), "drops or repeats messages"),
        ("{{ raise_exception('no assistants') }}", "does not take a conversation.*no assistants"),
        (None, "chat template"),
    ],
)
def test_a_template_that_fits_no_training_is_refused(
    processor: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, broken: str | None, message: str
) -> None:
    monkeypatch.setattr(processor, "chat_template", broken)
    monkeypatch.setattr(processor.tokenizer, "chat_template", broken)
    with pytest.raises(TrainingError, match=message):
        AnswerOnlyCollator(processor, recipe())([row(picture(tmp_path / "a.png"), *THREE_TURNS)])
