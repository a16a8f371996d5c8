"""The comparison of models as one page that stands alone, and in short as Markdown (paper, Figures 2 and 4).

Belongs here: how questions, pictures and answers are laid out. Which ones are shown, and who was right, do not.

All text of questions, options, replies, models and categories comes from outside: it is escaped wherever it stands,
and the script sees it only through a block of JSON. The page loads nothing and its policy forbids it to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl

from spare_assets.benchmarks.comparison import CONTRASTS, RIGHT_FROM, Selection, contrast_counts, select_questions
from spare_assets.benchmarks.origins import ORIGINS
from spare_assets.pages.markdown_text import markdown_line
from spare_assets.pages.standalone import content_policy, json_block
from spare_assets.pages.thumbnails import SIDE, thumbnail

PAGE_BYTES = 16_000_000
MARKDOWN_BYTES = 200_000
_SIDES = (SIDE, 240, 160)
_SHOWN = {"gained": 0, "lost": 1, "both wrong": 2, "both right": 3}
_QUESTION_CHARACTERS = 4_000
_REPLY_CHARACTERS = 1_200
_INLINE_CHARACTERS = 160
_COUNTS_SHOWN = 40
_NO_ANSWER = "no answer found"


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one model made of a question."""

    model: str
    role: str
    said: str
    prediction: str
    reply: str
    score: float
    contrast: str | None

    @property
    def right(self) -> bool:
        return self.score >= RIGHT_FROM


@dataclass(frozen=True, slots=True)
class _Question:
    """One question with all answers, those of trained models first."""

    benchmark: str
    item: str
    category: str
    text: str
    options: tuple[tuple[str, str], ...]
    truths: tuple[str, ...]
    images: tuple[str, ...]
    answers: tuple[_Answer, ...]

    @property
    def title(self) -> str:
        return ORIGINS[self.benchmark].title

    @property
    def contrasts(self) -> dict[str, str]:
        return {answer.model: answer.contrast for answer in self.answers if answer.contrast}

    @property
    def truth(self) -> str:
        """What is right, where it isn't one of the options shown."""
        return "" if self.options else " · ".join(dict.fromkeys(self.truths))


def comparison_page(
    rows: pl.LazyFrame,
    bases: Mapping[str, str],
    selection: Selection | None = None,
    *,
    max_bytes: int = PAGE_BYTES,
) -> str:
    """An HTML page over rows of `model_comparison`; `bases` names the base of each trained model.

    Pictures are reduced, to 320 pixels or to what keeps the page within `max_bytes`; the least that is shown without
    them is its text. Filters by benchmark, category, contrast, trained model and words work without a network, and
    without its script the page shows all.
    """
    questions = _questions(select_questions(rows, selection or Selection()), bases)
    counts = contrast_counts(rows)
    total = rows.select(pl.struct("benchmark", "item").n_unique()).collect(engine="streaming").item()
    cards = [_card(number, question) for number, question in enumerate(questions, start=1)]
    frame = _page(questions, counts, total)
    left = max_bytes - len("".join([*frame, *(part for card in cards for part in card)]).encode())
    waiting = sum(len(question.images) for question in questions)
    body = []
    for question, (before, after) in zip(questions, cards, strict=True):
        pictures = []
        for number, path in enumerate(question.images, start=1):
            picture = _picture(path, left // waiting, f"Picture {number} of {len(question.images)} of this question")
            left -= len(picture.encode())
            waiting -= 1
            pictures.append(picture)
        body.append(before + "".join(pictures) + after)
    return frame[0] + "".join(body) + frame[1]


def comparison_markdown(
    rows: pl.LazyFrame,
    bases: Mapping[str, str],
    selection: Selection | None = None,
    *,
    questions: int = 4,
    max_bytes: int = MARKDOWN_BYTES,
) -> str:
    """The counts and a few questions, gained ones first, as Markdown of at most `max_bytes`; one small picture."""
    found = _questions(select_questions(rows, selection or Selection(each=1)), bases)
    found = sorted(found, key=lambda question: _rank(question)[0])[:questions]
    parts = list(_markdown_counts(contrast_counts(rows)))
    pictured = False
    for question in found:
        lines = [f"**{_marked(question.title)}** {_marked(question.category)} {_marked(question.item)}", ""]
        for path in question.images[:1] if not pictured else ():
            if (small := thumbnail(Path(path), 200)) and len(small.address) < max_bytes // 2:
                lines += [f"![picture of this question]({small.address})", ""]
                pictured = True
        lines += [_marked(question.text, 600), ""]
        for letter, text in question.options:
            sign = " ✓" if letter in question.truths else ""
            lines.append(f"- {_marked(letter)}: {_marked(text, 200)}{sign}")
        if question.truth:
            lines.append(f"- right: {_marked(question.truth, 200)}")
        lines += ["", "| model | answer | | |", "|---|---|---|---|"]
        for answer in question.answers:
            sign = "✓" if answer.right else "✗"
            lines.append(
                f"| {_marked(answer.model)} | {_marked(answer.said, 120)} | {sign} | {answer.contrast or ''} |"
            )
        part = "\n".join(lines)
        if len("\n\n".join([*parts, part]).encode()) > max_bytes:
            break
        parts.append(part)
    if not found:
        parts.append(_NOTHING)
    return "\n\n".join(parts)


def _questions(rows: pl.DataFrame, bases: Mapping[str, str]) -> list[_Question]:
    """Questions in the order of Table 3, gained before lost."""
    key = itemgetter("benchmark", "item")
    found = [
        _question(list(of_question), bases)
        for _, of_question in groupby(rows.sort("benchmark", "item").to_dicts(), key)
    ]
    places = {benchmark: place for place, benchmark in enumerate(ORIGINS)}
    return sorted(found, key=lambda question: (places[question.benchmark], *_rank(question)))


def _rank(question: _Question) -> tuple[int, str]:
    return min((_SHOWN[contrast] for contrast in question.contrasts.values()), default=len(_SHOWN)), question.item


def _question(rows: list[dict[str, Any]], bases: Mapping[str, str]) -> _Question:
    first = rows[0]
    options = tuple((option["letter"] or "", option["text"] or "") for option in first["options"] or ())
    texts = dict(options)
    roles = {**dict.fromkeys(bases.values(), "base"), **dict.fromkeys(bases, "trained")}
    answers = [
        _Answer(
            model=row["model"],
            role=roles.get(row["model"], ""),
            said=_said(row["prediction"], texts),
            prediction=row["prediction"] or "",
            reply=(row["reply"] or "").strip(),
            score=row["score"] or 0.0,
            contrast=row["contrast"],
        )
        for row in rows
    ]
    order = ("trained", "base", "")
    answers.sort(key=lambda answer: (order.index(answer.role), answer.model))
    return _Question(
        first["benchmark"],
        first["item"],
        first["category"] or "",
        first["question"] or "",
        options,
        tuple(first["answers"] or ()),
        tuple(first["images"] or ()),
        tuple(answers),
    )


def _said(prediction: str | None, options: Mapping[str, str]) -> str:
    if prediction is None:
        return _NO_ANSWER
    return f"{prediction}. {options[prediction]}" if prediction in options else prediction


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"


# HTML


def _html(text: str) -> str:
    """Outside text as HTML, kept from turning the direction of what stands beside it."""
    return f"<bdi>{escape(text)}</bdi>"


def _card(number: int, question: _Question) -> tuple[str, str]:
    """A question's article, before and after its pictures."""
    name = f"question-{number}"
    category = f'<span class="category">{_html(question.category)}</span>' if question.category else ""
    before = (
        f'<article id="{name}" aria-labelledby="{name}-text"><header><span class="benchmark">{_html(question.title)}'
        f'</span>{category}<span class="item">{_html(question.item)}</span></header><div class="asked">'
        + (f'<div class="pictures{" several" if len(question.images) > 1 else ""}">' if question.images else "")
    )
    options = "".join(_option(letter, text, letter in question.truths) for letter, text in question.options)
    truth = (
        f'<p class="truth"><span>Right answer</span> {_html(_cut(question.truth, 300))}</p>' if question.truth else ""
    )
    after = (
        ("</div>" if question.images else "")
        + f'<div class="words"><h2 id="{name}-text">{_html(_cut(question.text, _QUESTION_CHARACTERS))}</h2>'
        + (f'<ul class="options">{options}</ul>' if options else "")
        + f'{truth}</div></div><table><thead><tr><th scope="col">Model</th><th scope="col">Answer</th>'
        + '<th scope="col" class="mark"><span class="unseen">Right or wrong</span></th></tr></thead><tbody>'
        + "".join(map(_answer_row, question.answers))
        + "</tbody></table></article>\n"
    )
    return before, after


def _option(letter: str, text: str, right: bool) -> str:
    sign = '<span class="right" role="img" aria-label="right answer">✓</span>' if right else ""
    return f"<li{' class=true' if right else ''}><b>{_html(letter)}</b> {_html(_cut(text, 600))}{sign}</li>"


def _answer_row(answer: _Answer) -> str:
    verdict, sign = ("right", "✓") if answer.right else ("wrong", "✗")
    part = f"<small>{answer.score:.1f}</small>" if 0 < answer.score < 1 else ""
    tag = f'<span class="tag {_class(answer.contrast)}">{answer.contrast}</span>' if answer.contrast else ""
    role = f'<span class="role">{answer.role}</span>' if answer.role == "base" else ""
    said = _html(_cut(answer.said, 300))
    if answer.said == _NO_ANSWER:
        said = f'<i class="none">{_NO_ANSWER}</i>'
    return (
        f'<tr class="{verdict} {answer.role}"><th scope="row">{_html(answer.model)}{role}{tag}</th>'
        f'<td><span class="said">{said}</span>{_reply(answer)}</td>'
        f'<td class="mark"><span role="img" aria-label="{verdict}">{sign}</span>{part}</td></tr>'
    )


def _reply(answer: _Answer) -> str:
    """The reply itself, where it says more than the answer read out of it."""
    told = {_letters(answer.prediction), _letters(answer.said), _letters(answer.said.partition(". ")[2])}
    if _letters(answer.reply[: 2 * _REPLY_CHARACTERS]) in told or not answer.reply:
        return ""
    if len(answer.reply) <= _INLINE_CHARACTERS:
        return f'<q class="reply">{_html(answer.reply)}</q>'
    start = _html(answer.reply[: _INLINE_CHARACTERS // 2].rsplit(" ", 1)[0])
    whole = _html(_cut(answer.reply, _REPLY_CHARACTERS))
    return f'<details class="reply"><summary>{start} …</summary><q>{whole}</q></details>'


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text).casefold()


def _class(contrast: str | None) -> str:
    return (contrast or "").replace(" ", "-")


def _picture(path: str, budget: int, description: str) -> str:
    """A picture as large as fits `budget` bytes, or a note in its place."""
    for side in _SIDES:
        small = thumbnail(Path(path), side)
        if small is None:
            return '<p class="absent">This picture can’t be shown</p>'
        tag = f'<img src="{small.address}" width="{small.width}" height="{small.height}" alt="{description}">'
        if len(tag.encode()) <= budget:
            return tag
    return '<p class="absent">Picture left out: the page is full</p>'


def _page(questions: list[_Question], counts: pl.DataFrame, total: int) -> tuple[str, str]:
    """The page before and after its questions."""
    index = [[question.benchmark, question.category, question.contrasts] for question in questions]
    models = list(dict.fromkeys(answer.model for question in questions for answer in question.answers))
    shown = f"{len(questions):,} of {total:,} questions, {len(models):,} models"
    head = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{content_policy(_STYLE, _SCRIPT)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Models side by side</title>'
        f"<style>{_STYLE}</style></head><body>"
        '<a class="skip" href="#questions">Skip to the questions</a>'
        f'<header class="top"><h1>Models side by side</h1><p>{shown if questions else _NOTHING}</p></header>'
        + _changes(counts)
        + (_filters(questions) if questions else "")
        + '<main id="questions" tabindex="-1">\n'
    )
    tail = (
        '<p id="none" hidden>No question fits these filters. <button type="button" class="reset">Show all</button></p>'
        f'</main><script type="application/json" id="index">{json_block(index)}</script>'
        f"<script>{_SCRIPT}</script></body></html>\n"
    )
    return head, tail


def _changes(counts: pl.DataFrame) -> str:
    """What training gained and lost: benchmarks by trained models."""
    if counts.is_empty():
        return ""
    models = counts["model"].unique().sort().to_list()
    cells = {(row["benchmark"], row["model"]): row for row in counts.to_dicts()}
    keys = [key for key in ORIGINS if key in set(counts["benchmark"])]
    head = "".join(f'<th scope="col">{_html(model)}</th>' for model in models)
    body = "".join(
        f'<tr><th scope="row">{_html(ORIGINS[key].title)}</th>'
        + "".join(_change(cells.get((key, model))) for model in models)
        + "</tr>"
        for key in keys
    )
    return (
        '<section class="changes" aria-labelledby="changes"><h2 id="changes">'
        "Gained and lost against the base model</h2>"
        "<p>Questions the base had wrong and training made right, and the reverse.</p>"
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="changes"><table><thead><tr>'
        f"<th></th>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _change(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "<td>–</td>"
    total = sum(row[contrast] for contrast in CONTRASTS)
    lost, gained = (round(60 * row[name] / total, 1) for name in ("lost", "gained"))
    bar = (
        '<svg viewBox="0 0 120 6" aria-hidden="true"><rect class="track" width="120" height="6"/>'
        f'<rect class="lost" x="{60 - lost}" width="{lost}" height="6"/>'
        f'<rect class="gained" x="60" width="{gained}" height="6"/></svg>'
    )
    return (
        f'<td><span class="lost">−{row["lost"]:,}</span> <span class="gained">+{row["gained"]:,}</span> '
        f"<small>of {total:,}</small>{bar}</td>"
    )


def _filters(questions: list[_Question]) -> str:
    benchmarks = {question.benchmark: question.title for question in questions}
    order = list(benchmarks)
    categories: dict[str, dict[str, str]] = {}
    for question in sorted(questions, key=lambda question: (order.index(question.benchmark), question.category)):
        if question.category:
            of_benchmark = categories.setdefault(question.title, {})
            of_benchmark[f"{question.benchmark}/{question.category}"] = question.category
    models = sorted({model for question in questions for model in question.contrasts})
    contrasts = [contrast for contrast in CONTRASTS if any(contrast in q.contrasts.values() for q in questions)]
    groups = "".join(
        f'<optgroup label="{escape(title)}">{_menu(values)}</optgroup>' for title, values in categories.items()
    )
    return (
        '<form class="filters" role="search" aria-label="Filter the questions" hidden>'
        '<label class="words">Text<input type="search" name="text" placeholder="in question or answers"></label>'
        + _choice("benchmark", "Benchmark", _menu(benchmarks))
        + (_choice("category", "Category", groups) if groups else "")
        + (_choice("contrast", "Contrast", _menu({contrast: contrast for contrast in contrasts})) if contrasts else "")
        + (_choice("model", "Trained model", _menu({model: model for model in models})) if len(models) > 1 else "")
        + '<button type="button" class="reset">Reset</button><output aria-live="polite"></output></form>'
    )


def _menu(values: Mapping[str, str]) -> str:
    return "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in values.items())


def _choice(name: str, label: str, options: str) -> str:
    return f'<label>{label}<select name="{name}"><option value="">all</option>{options}</select></label>'


# Markdown


def _marked(text: str, most: int = 200) -> str:
    return markdown_line(_cut(text, most))


def _markdown_counts(counts: pl.DataFrame) -> Iterator[str]:
    if counts.is_empty():
        return
    lines = ["| benchmark | model | gained | lost | both right | both wrong |", "|---|---|---:|---:|---:|---:|"]
    order = list(ORIGINS)
    for row in sorted(counts.to_dicts(), key=lambda row: order.index(row["benchmark"]))[:_COUNTS_SHOWN]:
        numbers = " | ".join(f"{row[contrast]:,}" for contrast in CONTRASTS)
        lines.append(f"| {_marked(ORIGINS[row['benchmark']].title)} | {_marked(row['model'])} | {numbers} |")
    if counts.height > _COUNTS_SHOWN:
        lines.append(f"| and {counts.height - _COUNTS_SHOWN:,} more | | | | | |")
    yield "\n".join(lines)


_NOTHING = "Nothing to compare yet: score at least two models on one benchmark."

_STYLE = """
:root{--paper:#f3f4f6;--card:#fff;--ink:#151b23;--soft:#5a6573;--line:#dde1e7;--faint:#f3f5f8;--accent:#2f5bd0;
--right:#0b7a4b;--right-tint:#e2f4ea;--wrong:#b4281c;--wrong-tint:#fbe8e5}
@media(prefers-color-scheme:dark){:root{--paper:#0e1217;--card:#171d25;--ink:#e7ebf0;--soft:#98a4b3;--line:#2b3440;
--faint:#1d2530;--accent:#8fb0ff;--right:#52cf93;--right-tint:#12342a;--wrong:#ff8d7e;--wrong-tint:#3d1d1b}}
*{box-sizing:border-box}
html{color-scheme:light dark;scroll-padding-top:6rem}
body{margin:0 auto;padding:0 clamp(.75rem,3vw,2rem) 4rem;max-width:90rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",Arial,sans-serif}
h1,h2,p,ul{margin:0}
h1{font-size:1.75rem;line-height:1.2;letter-spacing:-.015em}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;font-weight:400}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:1rem;z-index:3;background:var(--card);padding:.5rem 1rem}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.top{padding:2rem 0 1rem}.top p{color:var(--soft);margin-top:.25rem}
.changes{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem 1.25rem;
margin-bottom:1rem}
.changes h2{font-size:1rem}.changes p{color:var(--soft);font-size:.875rem}
.scroll{overflow-x:auto;margin-top:.6rem}
.changes table{width:auto;font-size:.875rem;font-variant-numeric:tabular-nums}
.changes th,.changes td{padding:.3rem 1.75rem .3rem 0;white-space:nowrap}
.changes thead th{color:var(--soft)}
.changes svg{display:block;width:7.5rem;height:.375rem;margin-top:.15rem;border-radius:.2rem;overflow:hidden}
.changes small{color:var(--soft)}
svg .track{fill:var(--line)}svg .gained{fill:var(--right)}svg .lost{fill:var(--wrong)}
span.gained{color:var(--right);font-weight:600}span.lost{color:var(--wrong);font-weight:600}
.filters{display:flex;flex-wrap:wrap;gap:.6rem .75rem;align-items:end;padding:.75rem 0;margin-bottom:.5rem;
background:var(--paper);position:sticky;top:0;z-index:2;border-bottom:1px solid var(--line)}
.filters[hidden]{display:none}
.filters label{display:grid;grid-template-columns:minmax(0,1fr);gap:.15rem;min-width:0;font-size:.8125rem;
color:var(--soft)}
.filters .words{flex:1 1 13rem}
input,select,button{font:inherit;font-size:.9375rem;color:var(--ink);background:var(--card);
border:1px solid var(--line);border-radius:.4rem;padding:.4rem .6rem;min-height:2.4rem;max-width:100%}
input,select{width:100%}select{max-width:15rem}button{cursor:pointer}button:hover{border-color:var(--accent)}
output{color:var(--soft);font-size:.875rem;padding-bottom:.5rem;margin-left:auto;font-variant-numeric:tabular-nums}
main{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,30rem),1fr))}
main:focus{outline:none}
#none{grid-column:1/-1;padding:3rem 0;text-align:center;color:var(--soft)}
article{background:var(--card);border:1px solid var(--line);border-radius:.6rem;overflow:hidden;break-inside:avoid}
article[hidden]{display:none}
article>header{display:flex;flex-wrap:wrap;gap:.1rem .75rem;padding:.7rem 1.1rem 0;font-size:.8125rem;color:var(--soft)}
.benchmark{color:var(--ink);font-weight:600}.item{margin-left:auto;overflow-wrap:anywhere}
.asked{display:flex;gap:1.1rem;padding:.7rem 1.1rem 1rem}
.pictures{flex:0 0 42%;max-width:20rem;display:grid;gap:.4rem;align-content:start}
.pictures.several{grid-template-columns:repeat(auto-fit,minmax(6rem,1fr))}
.pictures img{display:block;width:100%;height:auto;border-radius:.3rem}
.absent{display:grid;place-items:center;text-align:center;min-height:7rem;padding:.5rem;border:1px dashed var(--line);
border-radius:.3rem;color:var(--soft);font-size:.8125rem}
.words{flex:1 1 0;min-width:0;overflow-wrap:anywhere}
.words h2{font-size:1.0625rem;line-height:1.4;font-weight:600;white-space:pre-line}
.options{list-style:none;padding:0;margin-top:.6rem;display:grid;gap:.15rem;font-size:.9375rem}
.options li{display:flex;gap:.5rem;padding:.15rem .5rem;border-radius:.3rem}
.options b{font-weight:600;color:var(--soft)}
.options .true{background:var(--right-tint)}.options .true b{color:inherit}
.options .right{color:var(--right);font-weight:700}
.truth{margin-top:.6rem;font-size:.9375rem;font-weight:600}
.truth span{color:var(--soft);font-weight:400;margin-right:.25rem}
article table{border-top:1px solid var(--line);font-size:.9375rem}
article thead th{color:var(--soft);font-size:.8125rem;padding:.4rem .5rem .3rem 1.1rem}
article tbody th,article tbody td{border-top:1px solid var(--line);padding:.45rem .5rem .45rem 1.1rem;
overflow-wrap:anywhere}
article tbody th{width:44%}
article .trained th>bdi{font-weight:600}
article th.mark,article td.mark{width:3.5rem;text-align:center;padding-left:0;padding-right:1.1rem;white-space:nowrap}
td.mark span{font-weight:700;font-size:1.0625rem;line-height:1.3}
td.mark small{display:block;color:var(--soft);font-size:.75rem}
.right .said,.right td.mark span{color:var(--right)}.wrong .said,.wrong td.mark span{color:var(--wrong)}
.said{font-weight:600}.said .none{font-weight:400}
.reply{display:block;color:var(--soft);font-size:.8125rem;margin-top:.1rem;white-space:pre-line}
.reply summary{cursor:pointer;white-space:normal}
.tag,.role{display:inline-block;margin-left:.5rem;padding:0 .45rem;border-radius:.3rem;font-size:.75rem;line-height:1.5;
background:var(--faint);color:var(--soft);white-space:nowrap}
.tag.gained{background:var(--right-tint);color:var(--right)}.tag.lost{background:var(--wrong-tint);color:var(--wrong)}
@media(max-width:44rem){.filters{position:static}.filters label{flex:1 1 9rem}.filters .words{flex-basis:100%}
.asked{flex-direction:column}.pictures{flex-basis:auto;width:100%;max-width:none}.words{flex:none}
article tbody th{width:40%}.tag,.role{margin-left:0;margin-right:.4rem}article tbody th>bdi{display:block}
output{margin-left:0;width:100%}select{max-width:none}}
@media print{.filters,.skip{display:none}body{background:none}main{grid-template-columns:1fr 1fr}}
"""

_SCRIPT = """
(() => {
  const form = document.querySelector('.filters');
  if (!form) return;
  const index = JSON.parse(document.getElementById('index').textContent);
  const cards = [...document.querySelectorAll('main > article')];
  const texts = cards.map(card => card.textContent.toLowerCase());
  const fields = [...form.querySelectorAll('input, select')];
  const none = document.getElementById('none');
  const output = form.querySelector('output');
  const show = () => {
    const value = Object.fromEntries(fields.map(field => [field.name, field.value]));
    const words = value.text.toLowerCase().split(/\\s+/).filter(Boolean);
    let count = 0;
    cards.forEach((card, place) => {
      const [benchmark, category, contrasts] = index[place];
      const own = value.model ? [contrasts[value.model]] : Object.values(contrasts);
      const fits = (!value.benchmark || benchmark === value.benchmark)
        && (!value.category || benchmark + '/' + category === value.category)
        && (!value.contrast || own.includes(value.contrast))
        && (!value.model || value.model in contrasts)
        && words.every(word => texts[place].includes(word));
      card.hidden = !fits;
      count += fits;
    });
    none.hidden = count > 0;
    output.textContent = count + ' of ' + cards.length + ' shown';
    const chosen = new URLSearchParams(Object.entries(value).filter(([, chosenValue]) => chosenValue));
    try { history.replaceState(null, '', '#' + chosen); } catch (error) { /* a page without an address of its own */ }
  };
  const stored = new URLSearchParams(location.hash.slice(1));
  for (const field of fields) {
    if (stored.has(field.name)) field.value = stored.get(field.name);
    field.addEventListener('input', show);
  }
  for (const button of document.querySelectorAll('.reset')) {
    button.addEventListener('click', () => {
      for (const field of fields) field.value = '';
      show();
      fields[0].focus();
    });
  }
  form.addEventListener('submit', event => event.preventDefault());
  form.hidden = false;
  show();
})();
"""
