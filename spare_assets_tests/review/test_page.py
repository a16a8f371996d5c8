"""The review page stands alone, shows outside text as text, keeps within its size, and can be worked by keyboard."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spare_assets.review.items import items, sample_hash
from spare_assets.review.page import review_page
from spare_assets.review.verdict_files import read_verdicts
from spare_assets.sandbox.scenes import make_scene, render, scene_seed
from spare_assets.storage.schemas import TABLES
from spare_assets_tests.benchmarks.test_comparison_page import Markup
from spare_assets_tests.review.drawn import caption_rows, pair_rows, put, verdict_file
from spare_assets_tests.review.reviewer import Reviewer, chromium, wait

HOSTILE = (
    "<!-- <script </script x </script><script>alert(1)</script>\"'><img src=x onerror=alert(1)> &lt; "
    "${x} $block \u202e\u2028 الكرسي على يسار الطاولة 👩‍🚀🏳️‍🌈"
)


def block(page: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Markup(page).texts["script"][0])
    return document


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    render(make_scene(scene_seed("benchmark", 0, 1))).resize((800, 600)).save(path)
    return str(path)


def test_pairs_in_their_order_and_what_is_shown_of_them(picture: str) -> None:
    pairs, captions = pair_rows(3, image_path=picture), caption_rows(2)
    pairs = pairs.with_columns(place=pl.Series([3, 1, 2], dtype=pl.UInt32))
    page = review_page(pairs, captions)
    shown = block(page.html)
    assert [item["item"] for item in shown["items"]] == ["c01", "c02", "p02", "p03", "p01"]
    assert shown["sample"] == page.sample == sample_hash(items(pairs, captions))
    pair = shown["items"][2]
    assert (pair["question"], pair["answer"], pair["relations"]) == (
        "Where is cup 2?",
        "left of the plate",
        ["left", "above"],
    )
    assert (pair["picture"]["width"], pair["picture"]["height"]) == (320, 240)
    assert page.shown.rows()[2:] == [
        ("pair", "p01", 3, "embedded", 320, 240),
        ("pair", "p02", 1, "embedded", 320, 240),
        ("pair", "p03", 2, "embedded", 320, 240),
    ]


def test_captions_are_labelled_blind(picture: str) -> None:
    page = review_page(TABLES["review_sample"].empty(), caption_rows(2))
    (first, second) = block(page.html)["items"]
    assert set(first) == {"kind", "item", "seen", "source", "place", "caption", "absent"}, "neither verdict nor weight"
    assert {**first, "item": "", "seen": "", "place": 0, "caption": ""} == {
        **second,
        "item": "",
        "seen": "",
        "place": 0,
        "caption": "",
    }


def test_the_page_stands_alone_and_its_policy_names_its_own_script_and_style(picture: str) -> None:
    page = review_page(pair_rows(2, image_path=picture), caption_rows(1)).html
    markup = Markup(page)
    policy = next(str(a["content"]) for _, a in markup.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag, text in (("style", markup.texts["style"][0]), ("script", markup.texts["script"][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    for tag, attributes in markup.elements:
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes), tag
        assert tag not in ("link", "iframe", "object", "embed", "img")
        assert str(attributes.get("href", "#")).startswith("#")
    assert "http:" not in page and "https:" not in page


def check_outside_text(text: str) -> None:
    pairs = pair_rows(1, question=text, answer=text, caption=text, source=text, relations=[text])
    page = review_page(pairs, caption_rows(1, caption=text)).html
    plain = review_page(pair_rows(1), caption_rows(1)).html
    found, expected = Markup(page), Markup(plain)
    assert found.elements == expected.elements
    raw = page.partition('id="sample">')[2].partition("</script>")[0]
    assert not set("<>&") & set(raw), "nothing in it can end the block"
    assert found.texts["script"][1:] == expected.texts["script"][1:] and len(found.texts["script"]) == 2
    caption, pair = block(page)["items"]
    assert caption["caption"] == text
    assert {pair[name] for name in ("question", "answer", "caption", "source")} == {text}


def test_hostile_text_stays_in_the_block_of_data() -> None:
    check_outside_text(HOSTILE)


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=60))
def test_any_text_stays_in_the_block_of_data(text: str) -> None:
    check_outside_text(text)


def test_the_page_keeps_within_its_size(picture: str) -> None:
    pairs, captions = pair_rows(8, image_path=picture), caption_rows(2)
    full = review_page(pairs, captions)
    bare = len(review_page(pair_rows(8), captions).html.encode())
    room = len(full.html.encode()) - bare
    assert set(full.shown.filter(kind="pair")["width"]) == {320}
    sizes = []
    for share in (0.7, 0.4, 0.05):
        bound = bare + int(share * room)
        page = review_page(pairs, captions, max_bytes=bound)
        assert len(page.html.encode()) <= bound + 500
        sizes.append(page.shown.filter(kind="pair")["width"].fill_null(0).mean())
    assert sizes == sorted(sizes, reverse=True) and sizes[0] < 320
    assert page.shown.filter(kind="pair", picture="left out").height > 0
    assert "the page is full" in page.html
    assert set(review_page(pairs, captions, side=100).shown.filter(kind="pair")["width"]) == {100}


def test_pictures_that_cannot_be_shown(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n cut")
    pairs = pair_rows(3).with_columns(image_path=pl.Series([str(broken), str(tmp_path / "none"), None]))
    assert review_page(pairs, caption_rows(1)).shown["picture"].to_list() == [
        "none",
        "unreadable",
        "unreadable",
        "none",
    ]


def test_nothing_to_review() -> None:
    page = review_page(TABLES["review_sample"].empty(), TABLES["caption_review_sample"].empty())
    assert block(page.html)["items"] == [] and page.shown.is_empty()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


def saved(folder: Path, pairs: pl.DataFrame, captions: pl.DataFrame) -> Path:
    file = folder / "review.html"
    file.write_text(review_page(pairs, captions).html, encoding="utf-8")
    return file


@pytest.mark.browser
def test_twenty_pairs_by_keyboard_with_a_reload_in_the_middle(browser: Any, tmp_path: Path, picture: str) -> None:
    pairs, captions = pair_rows(30, image_path=picture), caption_rows(3)
    reviewer = Reviewer(browser, saved(tmp_path, pairs, captions))
    keys = ["1", "2", "3", "4", "5", "c", "r", "o", "n", "u"]
    words = ["correct", "wrong relation", "wrong object", "not spatial", "unclear"]
    assert reviewer.step == "Pair 1 of 30"
    assert reviewer.tab.get_by_role("img").count() == 1
    reviewer.press(*keys)
    assert reviewer.step == "Pair 11 of 30" and reviewer.said == "Pair 10: unclear."
    reviewer.press("m")
    reviewer.tab.keyboard.type("a cup, 123")
    reviewer.press("Escape")
    reviewer.tab.reload()
    assert reviewer.step == "Pair 11 of 30"
    assert reviewer.tab.input_value("#comment") == "a cup, 123"
    reviewer.press(*keys)
    assert "20 of 30" in reviewer.tab.inner_text("[data-kind=pair]")

    reviewer.press("d")
    assert "Say who you are" in reviewer.said
    reviewer.tab.keyboard.type("Ann Müller")
    reviewer.press("Enter", "p", "s", "n")
    path = reviewer.download(tmp_path / "reviews")
    assert path.name == f"verdicts-ann-müller-{sample_hash(items(pairs, captions))}.json"
    rows = read_verdicts(tmp_path / "reviews", items(pairs, captions))
    marks = rows.filter(kind="pair").sort("item")
    assert marks["item"].to_list() == [f"p{number:02}" for number in range(1, 21)]
    assert marks["verdict"].to_list() == words * 4
    assert marks.filter(pl.col("comment") != "").select("item", "comment").rows() == [("p11", "a cup, 123")]
    assert rows.filter(kind="caption")["verdict"].to_list() == ["spatial", "not spatial"]
    assert set(rows["reviewer"]) == {"Ann Müller"}
    assert reviewer.told == []


@pytest.mark.browser
def test_undo_moves_and_keys_that_do_nothing(browser: Any, tmp_path: Path) -> None:
    reviewer = Reviewer(browser, saved(tmp_path, pair_rows(4), caption_rows(0)))
    reviewer.press("1", "2", "z")
    assert reviewer.step == "Pair 2 of 4" and reviewer.said == "Undone: unmarked again."
    reviewer.press("ArrowLeft", "3", "Control+z")
    assert reviewer.step == "Pair 1 of 4" and reviewer.said == "Undone: correct again."
    reviewer.press("ArrowLeft")
    assert reviewer.step == "Pair 1 of 4"
    reviewer.press("j", "j", "k", "Control+1", "Alt+2", "x", "7", "p")
    assert reviewer.step == "Pair 2 of 4"
    reviewer.tab.keyboard.down("4")
    reviewer.tab.keyboard.down("4")
    reviewer.tab.keyboard.up("4")
    assert reviewer.step == "Pair 3 of 4", "a key held down marks once"
    reviewer.tab.get_by_role("button", name="correct").click()
    reviewer.press("5")
    assert "All is marked" in reviewer.said
    reviewer.press("m", "1", "z")
    assert reviewer.tab.input_value("#comment") == "1z", "in a comment, keys are letters"
    reviewer.press("Escape")
    reviewer.tab.locator("#guide summary").click()
    reviewer.tab.get_by_label("Single keys mark and move").uncheck()
    reviewer.press("ArrowLeft", "1")
    assert reviewer.step == "Pair 4 of 4", "single keys can be turned off"
    assert reviewer.told == []


@pytest.mark.browser
def test_outside_text_is_text_and_a_phone_is_wide_enough(browser: Any, tmp_path: Path) -> None:
    long = "unbroken" * 40
    pairs = pair_rows(2, question=HOSTILE, answer=HOSTILE, caption=HOSTILE + long, source=long, relations=[HOSTILE])
    file = saved(tmp_path, pairs, caption_rows(1, caption=HOSTILE))
    reviewer = Reviewer(browser, file, viewport={"width": 360, "height": 740}, color_scheme="dark")
    assert reviewer.tab.text_content("#heading") == HOSTILE
    assert reviewer.tab.text_content("#answer") == HOSTILE
    assert reviewer.tab.text_content("#caption") == HOSTILE + long
    assert reviewer.tab.text_content("#tags li:last-child") == HOSTILE
    assert reviewer.tab.locator("script").count() == 2 and reviewer.tab.locator("main img").count() == 0
    assert reviewer.tab.evaluate("document.documentElement.scrollWidth") <= 360
    for button in reviewer.tab.locator(".marks button:visible").all():
        assert button.bounding_box()["height"] >= 44, "large enough for a thumb"
    reviewer.press("p")
    assert reviewer.tab.text_content("#heading") == HOSTILE
    assert reviewer.told == []


@pytest.mark.browser
def test_a_file_is_taken_over_into_a_larger_sample(browser: Any, tmp_path: Path) -> None:
    captions = caption_rows(2)
    given = {"p01": "correct", "p02": "wrong object", "c01": "spatial"}
    changed = pair_rows(3, answer="under the plate").filter(pl.col("pair_id") == "p02")
    larger = pl.concat([pair_rows(6).filter(pl.col("pair_id") != "p02"), changed]).sort("pair_id")
    reviewer = Reviewer(browser, saved(tmp_path, larger, captions))
    file = put(tmp_path, "older.json", verdict_file(pair_rows(3), captions, "Ann", given))
    reviewer.tab.set_input_files("#open", file)
    wait(reviewer.tab, "#told", "taken over")
    assert reviewer.said == "2 verdicts taken over; 1 marked here already, or not in this sample."
    assert reviewer.step == "Pair 2 of 6" and reviewer.tab.input_value("#reviewer") == "Ann"
    reviewer.download(tmp_path / "reviews")
    rows = read_verdicts(tmp_path / "reviews", items(larger, captions))
    assert rows.select("item", "verdict").rows() == [("c01", "spatial"), ("p01", "correct")]

    reviewer.tab.set_input_files("#open", put(tmp_path, "b.json", verdict_file(larger, captions, "Ben", given)))
    wait(reviewer.tab, "#told", "That file is Ben’s, and this page is Ann’s: start over first.")
    for text, told in (("{", "not JSON"), ("[1]", "does not hold"), ("", "not JSON"), ("null", "does not hold")):
        reviewer.tab.set_input_files("#open", put(tmp_path, "c.json", text))
        wait(reviewer.tab, "#told", told)
    reviewer.tab.on("dialog", lambda dialog: dialog.accept())
    reviewer.tab.get_by_role("button", name="Start over").click()
    assert "0 of 6" in reviewer.tab.inner_text("[data-kind=pair]") and reviewer.tab.input_value("#reviewer") == ""
    reviewer.tab.reload()
    assert "0 of 6" in reviewer.tab.inner_text("[data-kind=pair]")
    assert reviewer.told == []


@pytest.mark.browser
def test_two_tabs_go_on_from_the_same_marks(browser: Any, tmp_path: Path) -> None:
    file = saved(tmp_path, pair_rows(4), caption_rows(0))
    reviewer = Reviewer(browser, file)
    other = reviewer.open(file)
    reviewer.press("1")
    wait(other, "[data-kind=pair]", "1 of 4")
    other.keyboard.press("j")
    other.keyboard.press("2")
    wait(reviewer.tab, "[data-kind=pair]", "2 of 4")
    assert reviewer.told == []


@pytest.mark.browser
def test_without_storage_the_page_says_so_and_works(browser: Any, tmp_path: Path) -> None:
    file = saved(tmp_path, pair_rows(3), caption_rows(0))
    reviewer = Reviewer(browser, file)
    tab = reviewer.tab
    reviewer.context.add_init_script("Storage.prototype.setItem = () => { throw new Error('full') }")
    tab.reload()
    assert tab.get_by_role("alert").inner_text().startswith("This browser does not keep your marks")
    reviewer.press("1", "2")
    assert reviewer.step == "Pair 3 of 3"
    tab.fill("#reviewer", "Ann")
    reviewer.press("Enter")
    reviewer.download(tmp_path / "reviews")
    assert read_verdicts(tmp_path / "reviews", items(pair_rows(3), caption_rows(0))).height == 2


@pytest.mark.browser
def test_nothing_to_mark_is_said(browser: Any, tmp_path: Path) -> None:
    reviewer = Reviewer(browser, saved(tmp_path, pair_rows(0), caption_rows(0)))
    assert reviewer.tab.locator("#nothing").is_visible() and not reviewer.tab.locator("#item").is_visible()
    reviewer.press("1", "z", "j", "d")
    assert reviewer.told == []
