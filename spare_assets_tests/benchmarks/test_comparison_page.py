"""The comparison page: outside text stays text, the page stands alone and within its size, and its filters work."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from spare_assets.benchmarks.comparison import Selection
from spare_assets.benchmarks.comparison_page import comparison_markdown, comparison_page
from spare_assets.pages.thumbnails import thumbnail
from spare_assets.sandbox.scenes import make_scene, render, scene_seed
from spare_assets.storage.schemas import TABLES

BASES = {"spare": "base"}
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)> &lt; | `x` [a](javascript:b) \u202e \x00"


def row(model: str, score: float, item: str = "1", **changed: Any) -> dict[str, Any]:
    """One row of the table; the question asks where something is, and B is right."""
    contrast = None if model != "spare" else ("gained" if score >= 0.5 else "both wrong")
    return {
        "benchmark": "threedsr_bench",
        "item": item,
        "model": model,
        "category": "orientation_viewpoint",
        "question": "Is the table on the left or right of me?",
        "options": [{"letter": "A", "text": "left"}, {"letter": "B", "text": "right"}],
        "answers": ["B"],
        "images": [],
        "reply": "B" if score else "A",
        "prediction": "B" if score else "A",
        "score": score,
        "contrast": contrast,
    } | changed


def rows(*found: dict[str, Any]) -> pl.LazyFrame:
    table = TABLES["model_comparison"]
    return pl.DataFrame(list(found), schema=table.polars()).sort(table.key).lazy()


def pair(item: str = "1", **changed: Any) -> list[dict[str, Any]]:
    return [row("spare", 1.0, item, **changed), row("base", 0.0, item, **changed)]


class Markup(HTMLParser):
    """Every element with its attributes, and the text of articles and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("article", "script", "style"):
            self._inside.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside[-1]][-1] += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        render(make_scene(scene_seed("benchmark", 0, number))).resize((800, 600)).save(path)
    return [str(path) for path in paths]


def test_a_question_with_its_truth_and_every_answer(pictures: list[str]) -> None:
    page = comparison_page(rows(*pair(images=pictures[:1]), row("other", 0.6, prediction="B")), BASES)
    (article,) = Markup(page).texts["article"]
    words = " ".join(article.split())
    for part in ("3DSRBench", "orientation_viewpoint", "Is the table on", "gained", "B. right", "A. left", "✗", "0.6"):
        assert part in words
    assert article.index("spare") < article.index("base") < article.index("other"), "trained models come first"
    assert re.search(r'<li class=true><b><bdi>B</bdi></b> <bdi>right</bdi><span class="right"', page)
    assert page.count('aria-label="right"') == 2 and page.count('aria-label="wrong"') == 1
    (image,) = [attributes for tag, attributes in Markup(page).elements if tag == "img"]
    content = base64.b64decode(str(image["src"]).partition(",")[2])
    assert Image.open(io.BytesIO(content)).size == (320, 240) == (int(image["width"] or 0), int(image["height"] or 0))


def test_the_page_stands_alone_and_its_policy_names_its_own_script_and_style(pictures: list[str]) -> None:
    page = comparison_page(rows(*pair(images=pictures[:2])), BASES)
    markup = Markup(page)
    policy = next(str(a["content"]) for _, a in markup.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag, text in (("style", markup.texts["style"][0]), ("script", markup.texts["script"][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    for tag, attributes in markup.elements:
        assert "style" not in attributes, tag
        assert tag not in ("link", "iframe", "object", "embed")
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert str(attributes.get("href", "#")).startswith("#")


def check_outside_text(page: str, plain: str) -> None:
    """The page has the elements of one made of plain words, and no handler."""
    markup, expected = Markup(page), Markup(plain)
    assert [tag for tag, _ in markup.elements] == [tag for tag, _ in expected.elements]
    assert [set(a) for _, a in markup.elements] == [set(a) for _, a in expected.elements]
    assert markup.texts["script"][1] == expected.texts["script"][1]


def hostile_rows(text: str, model: str) -> pl.LazyFrame:
    changed: dict[str, Any] = {
        "category": text,
        "question": text,
        "options": [{"letter": "A", "text": text}, {"letter": "B", "text": text}],
    }
    found = [
        row(name, score, text, **changed) | {"reply": f"{text} B, because of this.", "prediction": "B"}
        for name, score in (("spare", 1.0), (model, 0.0))
    ]
    return rows(*found)


def test_hostile_text_is_shown_and_does_nothing() -> None:
    page = comparison_page(hostile_rows(HOSTILE, HOSTILE), {"spare": HOSTILE})
    check_outside_text(page, comparison_page(hostile_rows("plain", "plain"), {"spare": "plain"}))
    assert "alert(1)" in Markup(page).texts["article"][0]
    block = page.partition('id="index">')[2].partition("</script>")[0]
    assert not set("<>&") & set(block), "nothing in it can end the block"
    (index,) = json.loads(block)
    assert index == ["threedsr_bench", HOSTILE, {"spare": "gained"}]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60).filter(lambda text: text.strip()))
def test_any_text_is_text(text: str) -> None:
    name = "x" + text
    page = comparison_page(hostile_rows(name, name), {"spare": name})
    check_outside_text(page, comparison_page(hostile_rows("xplain", "xplain"), {"spare": "xplain"}))
    assert json.loads(Markup(page).texts["script"][0])[0][1] == name
    for line in comparison_markdown(hostile_rows(name, name), {"spare": name}).splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) in (5, 7), "no cell is torn"


def test_long_replies_are_cut_and_folded() -> None:
    reply = "I see a table. " * 700
    page = comparison_page(rows(*pair(reply=reply)), BASES)
    assert page.count("<details") == 2
    assert "more characters)" in page
    assert len(page) < 30_000
    assert "<details" not in comparison_page(rows(*pair(reply="B. Right!")), BASES)


def test_a_reply_that_says_no_more_than_its_answer_is_not_repeated() -> None:
    assert "<q " not in comparison_page(rows(*pair(reply=" b. Right.", prediction="B")), BASES)
    assert '<q class="reply">' in comparison_page(rows(*pair(reply="It is B.", prediction="B")), BASES)


def test_no_answer_and_open_answers() -> None:
    changed = {"options": [], "answers": ["seven", "7", "seven"], "prediction": None, "reply": ""}
    page = comparison_page(rows(*pair(**changed)), BASES)
    assert "seven · 7" in page
    assert page.count("no answer found") == 2


def test_the_page_keeps_within_its_size(pictures: list[str]) -> None:
    table = rows(*[part for number in range(6) for part in pair(str(number), images=pictures[:2])])
    full = comparison_page(table, BASES, Selection(each=12))
    assert full.count("<img") == 12 and 'width="320"' in full
    text = len(re.sub(r'<img src="[^"]*"[^>]*>', "", full).encode())
    for share in (0.6, 0.3, 0.05):
        bound = text + int((len(full.encode()) - text) * share)
        bounded = comparison_page(table, BASES, Selection(each=12), max_bytes=bound)
        assert len(bounded.encode()) <= bound + 12 * 60, "what stands in a picture's place is a few words"
        assert 'width="320"' not in bounded or share == 0.6
        assert bounded.count("<article") == 6
    assert "left out: the page is full" in bounded


def test_pictures_that_cannot_be_shown(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n cut")
    page = comparison_page(rows(*pair(images=[str(broken), str(tmp_path / "none.jpg"), "\x00"])), BASES)
    assert page.count("This picture can’t be shown") == 3


def test_thumbnails(tmp_path: Path) -> None:
    def stored(image: Image.Image, name: str, **options: Any) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    turned = Image.Exif()
    turned[0x0112] = 6
    found = thumbnail(stored(Image.new("RGB", (900, 300), "red"), "turned.jpg", exif=turned))
    assert found is not None and (found.width, found.height) == (107, 320)
    clear = thumbnail(stored(Image.new("RGBA", (40, 20), (0, 0, 0, 0)), "clear.png"))
    assert clear is not None and clear[1:] == (40, 20)
    pixels = Image.open(io.BytesIO(base64.b64decode(clear.address.partition(",")[2]))).convert("RGB")
    assert min(pixels.getpixel((5, 5))) > 250, "transparency becomes white"
    assert thumbnail(stored(Image.new("L", (60, 60)), "large.png"), max_pixels=3599) is None
    assert thumbnail(stored(Image.new("I;16", (60, 60)), "deep.png")) is not None


def test_nothing_to_compare() -> None:
    page = comparison_page(rows(), BASES)
    assert "score at least two models" in page and "<article" not in page
    assert "score at least two models" in comparison_markdown(rows(), BASES)


def test_markdown_is_short_and_holds_one_picture(pictures: list[str]) -> None:
    found = [
        part | {"benchmark": benchmark}
        for benchmark in ("vsr", "mme", "textvqa", "mmmu", "mmbench", "realworldqa")
        for part in pair(images=pictures)
    ]
    text = comparison_markdown(rows(*found), BASES)
    assert text.count("](data:image/") == 1
    assert text.count("Is the table on the left") == 4
    assert "| VSR | spare | 1 | 0 | 0 | 0 |" in text
    assert "- B: right ✓" in text and "- A: left\n" in text
    bounded = comparison_markdown(rows(*found), BASES, max_bytes=3000)
    assert len(bounded.encode()) <= 3000 and "data:image" not in bounded
    many = [row(f"m{number}", 1.0) for number in range(400)]
    assert len(comparison_markdown(rows(*many), {}, max_bytes=2000).encode()) <= 2000


@pytest.mark.browser
def test_filters_in_a_browser(tmp_path: Path, pictures: list[str]) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium on this machine; .ci/run installs it")
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    category = HOSTILE.replace("\x00", "")  # a browser shows another sign for it
    found = [*pair("1", images=pictures[:1]), *pair("2", question=HOSTILE, category=category)]
    found += [row("spare", 0.0, "3", benchmark="vsr"), row("base", 0.0, "3", benchmark="vsr")]
    file = tmp_path / "page.html"
    file.write_text(comparison_page(rows(*found), BASES), encoding="utf-8")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 360, "height": 800})
        told: list[str] = []
        tab.on("console", lambda message: told.append(message.text))
        tab.on("pageerror", lambda error: told.append(str(error)))
        tab.on("dialog", lambda dialog: told.append(dialog.message))
        tab.on("request", lambda request: told.append(request.url) if request.url.startswith("http") else None)
        tab.goto(file.as_uri())

        def shown() -> int:
            return tab.locator("article:visible").count()

        assert shown() == 3
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360, "nothing is wider than a phone"
        tab.select_option("[name=benchmark]", "threedsr_bench")
        assert shown() == 2
        tab.select_option("[name=category]", f"threedsr_bench/{category}")
        assert shown() == 1
        tab.keyboard.press("Tab")
        tab.locator(".filters .reset").press("Enter")
        tab.select_option("[name=contrast]", "both wrong")
        assert shown() == 1
        tab.fill("[name=text]", "no such words")
        assert shown() == 0 and tab.locator("#none").is_visible()
        tab.click("#none .reset")
        tab.fill("[name=text]", "onerror")
        assert shown() == 1
        tab.reload()
        assert shown() == 1, "what was chosen is part of the address"
        assert told == []
        browser.close()
