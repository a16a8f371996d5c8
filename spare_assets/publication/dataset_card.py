"""The dataset card: README.md with the front matter that the Hugging Face hub reads.

Words that come from outside (names, licences, prompts, citations) are shown as text and can neither become markup nor
end it. What there is to say is gathered elsewhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from spare_assets.pages.markdown_text import markdown_line
from spare_assets.publication.facts import CardFacts, SourceFacts, declared

PAPER = """@inproceedings{OgeziShi2025,
  author = {Michael Ogezi and Freda Shi},
  title = {{SpaRE: Enhancing Spatial Reasoning in Vision-Language Models with Synthetic Data}},
  booktitle = {ACL},
  note = {arXiv:2504.20648},
  year = {2025}
}"""
"""The method that the dataset is made by."""
_HUB_LICENCES = {
    "cc0-1.0": "cc0-1.0",
    "cc-by-2.0": "cc-by-2.0",
    "cc-by-3.0": "cc-by-3.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-3.0": "cc-by-sa-3.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
    "odc-by-1.0": "odc-by",
    "pddl-1.0": "pddl",
    "odbl-1.0": "odbl",
    "apache-2.0": "apache-2.0",
    "mit": "mit",
}
"""SPDX identifiers, and what the hub calls them."""
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_FENCE = re.compile(r"`{3,}|~{3,}")
_LIMITS = (
    "A caption seldom says from whose point of view something is left, right, in front or behind. Questions inherit "
    "that: an answer may hold for the viewer or for an object in the picture, and `frame` tells by the wording alone.",
    "Questions and answers were written from captions, not from pictures. What a caption gets wrong, a pair gets "
    "wrong; the check against the picture compares the question alone, by CLIP, which hardly sees relations.",
    "That an answer's words stand in the caption (check 3) doesn't show that the answer follows from it.",
    "Relations are as frequent as captions make them: a few are common, most are rare.",
    "The biases of the captions, and of the models that judged and wrote, are in the data.",
    "Pictures are named, not held, unless a column `image` holds them; addresses can cease to answer.",
    "Captions are under the licences named above. Pictures have terms of their own, and so may what a model wrote: "
    "read the terms of the models that are named here.",
)


def dataset_card(facts: CardFacts) -> str:
    """The whole card: front matter and text."""
    return f"---\n{front_matter(facts)}---\n\n{card_text(facts)}"


def front_matter(facts: CardFacts) -> str:
    """The metadata block that the hub reads, as YAML."""
    licences = sorted({hub_licence(source.settings.licence) for source in facts.sources})
    document: dict[str, object] = {
        "pretty_name": _plain(facts.title),
        "language": list(facts.languages),
        "license": licences[0] if len(licences) == 1 else licences,
    }
    if licences == ["other"]:
        named = sorted({_plain(source.settings.licence) for source in facts.sources})
        document |= {"license_name": ", ".join(named)}
    document |= {
        "task_categories": ["visual-question-answering", "image-text-to-text"],
        "size_categories": [size_category(facts.totals["samples"])],
        "annotations_creators": ["machine-generated"],
        "tags": ["spatial-reasoning", "spatial-relations", "synthetic", "vision-language", "croissant"],
        "configs": [
            {"config_name": "default", "default": True, "data_files": "data/*/*.parquet"},
            *(
                {"config_name": source.key, "data_files": f"data/{source.key}/*.parquet"}
                for source in facts.sources
                if source.counts["samples"]
            ),
        ],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def size_category(samples: int) -> str:
    """The hub's word for a number of rows."""
    return next((name for bound, name in _SIZES if samples < bound), "10M<n<100M")


def hub_licence(licence: str) -> str:
    """The hub's identifier of a licence: `unknown` where none is declared, `other` where the hub has none for it."""
    return _HUB_LICENCES.get(licence.strip().lower(), "other") if declared(licence) else "unknown"


def card_text(facts: CardFacts) -> str:
    """The card below its front matter."""
    return "\n\n".join(_blocks(facts)) + "\n"


def _blocks(facts: CardFacts) -> Iterator[str]:
    totals = facts.totals
    yield f"# {markdown_line(facts.title)}"
    yield (
        f"{totals['pairs']:,} question-answer pairs about where things are, in {totals['samples']:,} samples, each a "
        f"captioned image. Made from {totals['captions']:,} captions as SpaRE describes it: captions that state "
        "spatial relations are picked out, pairs are written from them, and five checks drop those that repeat, talk "
        "of the caption, aren't grounded in it, don't fit the image, or aren't about space."
    )
    yield f"Profile `{facts.profile}`, content version `{facts.version}`."
    if facts.limits:
        yield (
            "**This is a trial**: "
            + ", ".join(f"{count:,} captions of {key}" for key, count in facts.limits.items())
            + "."
        )
    if facts.absent:
        yield f"Declared sources that are not in it: {', '.join(facts.absent)}."
    yield "## Sources"
    yield table(
        ["source", "captions under", "images under", "home page"],
        (
            [s.key, _licence(s.settings.licence), _licence(s.settings.image_licence), s.settings.homepage or "-"]
            for s in facts.sources
        ),
    )
    yield table(
        ["source", "captions", "past the pre-filter", "with image", "samples", "mean words", "pairs"],
        (_counts(key, row) for key, row in [*((s.key, s.counts) for s in facts.sources), ("total", totals)]),
    )
    yield "## Rows"
    yield (
        "One row per caption that holds a pair: `caption_id`, `source`, `split`, the image by `image_id`, `image_set`, "
        "`image_file`, `image_url` and `image_sha256`, the `caption`, and `pairs`: `pair_id`, `question`, `answer` and "
        "`alignment_score` (null where the pair passed unscored) and `frame` (of reference)."
    )
    yield "## From captions to pairs"
    for source in facts.sources:
        yield f"### {source.key}"
        yield table(["table", "unit", "read", "became"], _funnel(source))
    yield "Pairs were dropped most often because:"
    yield table(["reason", "pairs"], ([reason, f"{count:,}"] for reason, count in facts.drop_reasons))
    yield "## Models"
    yield table(
        ["what it does", "engine", "model", "revision", "how"],
        (
            [m.task, m.engine, m.name, m.revision or ("not pinned" if m.pinnable else "-"), m.details]
            for m in facts.models
        ),
    )
    yield (
        f"Decoding is greedy (temperature 0). A reply of pairs ends at {facts.reply_tokens:,} tokens; complete pairs "
        "of one that was cut are kept."
    )
    yield "## Cut-offs"
    yield table(["source", *_checks(facts)], (_cut_offs(source, _checks(facts)) for source in facts.sources))
    yield (
        f"Alignment of question and image is the {markdown_line(facts.alignment_formula)}; mode `{facts.alignment}`. "
        f"{sum(source.unscored_pairs for source in facts.sources):,} pairs passed that check unscored."
    )
    if facts.overrides:
        yield "Changed by hand for single runs:"
        yield table(["table", "changed"], ([name, json.dumps(changed)] for name, changed in facts.overrides.items()))
    else:
        yield "No setting was changed by hand for single runs."
    yield "## Prompts"
    if not facts.prompts:
        yield "No prompts were sent: the rule-based analyst is asked by task."
    for prompt in facts.prompts:
        yield f"`{prompt.task}`, fingerprint `{prompt.fingerprint}`:"
        yield fenced(prompt.text)
    yield "## Judged by people"
    if review := facts.review:
        yield (
            f"{review.rate:.1%} of {review.judged:,} pairs that people judged are wrong (Wilson interval "
            f"{review.low:.1%} to {review.high:.1%})."
        )
    else:
        yield "Not reviewed yet."
    yield "## Known limits"
    yield "\n".join(f"- {limit}" for limit in _LIMITS)
    yield "## Citation"
    yield "\n\n".join(fenced(text, "bibtex") for text in (PAPER, *_citations(facts.sources)))


def _counts(key: str, row: Mapping[str, Any]) -> list[str]:
    names = ("captions", "spatial_captions", "captions_with_image", "samples", "mean_words", "pairs")
    shown = (row[name] for name in names)
    return [
        key,
        *("-" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for value in shown),
    ]


def _funnel(source: SourceFacts) -> Iterator[list[str]]:
    for step in source.steps:
        became = ", ".join(f"{count:,} {name}" for name, count in step.parts.items())
        yield [step.table, step.unit, f"{step.read:,}", became]


def _checks(facts: CardFacts) -> list[str]:
    return list(facts.sources[0].thresholds) if facts.sources else []


def _cut_offs(source: SourceFacts, checks: Sequence[str]) -> list[str]:
    return [source.key, *(", ".join(f"{value:.4g}" for value in source.thresholds[check]) or "-" for check in checks)]


def _licence(licence: str) -> str:
    return licence if declared(licence) else "not declared"


def _citations(sources: Iterable[SourceFacts]) -> list[str]:
    return list(dict.fromkeys(source.settings.citation.strip() for source in sources if source.settings.citation))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of texts that mean nothing but themselves."""
    lines = [head, *rows]
    drawn = ["| " + " | ".join(markdown_line(cell) for cell in line) + " |" for line in lines]
    return "\n".join([drawn[0], "|" + "---|" * len(head), *drawn[1:]])


def fenced(text: str, language: str = "text") -> str:
    """A text of several lines as a code block that nothing in it can end."""
    longest = max((len(found) for found in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{_plain(text, keep_lines=True)}\n{fence}"


def _plain(text: str, keep_lines: bool = False) -> str:
    """A text without control characters."""
    kept = "\n" if keep_lines else ""
    return "".join(letter if letter.isprintable() or letter in kept else " " for letter in text).strip()
