from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spare_assets.pages.markdown_text import markdown_line

markdown_it = pytest.importorskip("markdown_it")

MARKUP = st.text(st.sampled_from("\\`*_{}[]()<>#+-.!|~&:$@=^'\"/ \n\tahw1;lt")) | st.text()


def shown(text: str) -> str:
    """What a reader sees of the text."""
    seen = "".join(" " if unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"} else sign for sign in text)
    return " ".join(seen.translate(dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], " ")).split())


@given(MARKUP)
@example("- [a](http://b) <b>&lt;</b> www.c.org\n# d\n\n1. e")
@example("\\|")
@example("a\u202eb\u2066c\x1b[31m")
@example("\ud800 half")
def test_a_line_is_shown_as_it_is_and_nothing_of_it_is_markup(text: str) -> None:
    line = markdown_line(text)
    for before, after in (("", ""), ("before ", " after")):
        tokens = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(before + line + after)
        assert {token.type for token in tokens} <= {"paragraph_open", "inline", "paragraph_close"}
        children = [child for token in tokens for child in token.children or []]
        assert {child.type for child in children} <= {"text"}
        assert "".join(child.content for child in children) == before + shown(text) + after


@given(st.lists(MARKUP, min_size=1, max_size=3))
def test_cells_of_a_table_stay_apart(texts: list[str]) -> None:
    rows = [["h"] * len(texts), ["---"] * len(texts), [markdown_line(text) for text in texts]]
    document = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(document)
    cells = [tokens[place + 1] for place, token in enumerate(tokens) if token.type == "td_open"]
    assert tokens[-1].type == "table_close"
    assert ["".join(child.content for child in cell.children) for cell in cells] == [shown(text) for text in texts]
    assert all(child.type == "text" for cell in cells for child in cell.children)


def test_addresses_are_no_links() -> None:
    line = markdown_line("see https://evil.example or www.evil.example")
    assert "https:" not in line and "www." not in line
