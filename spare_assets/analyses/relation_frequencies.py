"""Table 11 of any corpus: shares of keywords and relations, and how much flatter one corpus is than another.

Belongs here: tables made of keyword counts. Counting is `relations.matcher`'s, spread `concentration`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from spare_assets.analyses.concentration import TOP, Concentration
from spare_assets.relations.matcher import KeywordCounts
from spare_assets.relations.taxonomy import KEYWORDS, TAXONOMY

VERSION = 1
"""Part of the code version of all that is counted here."""
ALL, SPATIAL = "all", "spatial"
"""Scopes: every text, and those judged to be about space first, as the paper does (3.1.2)."""
TOTAL = "total"
"""The corpus that is all corpora of a table together."""
PRINTED = KeywordCounts(
    matches={row.text: round(row.share * 100) for relation in TAXONOMY for row in relation.keywords}
)
"""The paper's own Table 11 in the place of counts: hundredths of a percent."""
PAIR_TEXT = pl.concat_str("question", "answer", separator=" | ", ignore_nulls=True).alias("text")
"""A question with its answer as one text, in which no keyword goes from one into the other."""


def frequency_table(counts: Mapping[tuple[str, str], KeywordCounts], corpus: str) -> pl.DataFrame:
    """The 201 rows of Table 11 for each corpus and scope; `corpus` names the first column.

    Shares are percentages: of all matches (`share`, `relation_share`; they add up to 100) and of the relation's own
    (`keyword_share`); null where there is nothing to be a share of.
    """
    frames = [
        _rows(counted).select(pl.lit(key).alias(corpus), pl.lit(scope).alias("scope"), pl.all())
        for (key, scope), counted in counts.items()
    ]
    return pl.concat(frames).sort(corpus, "scope", "place")


def _rows(counts: KeywordCounts) -> pl.DataFrame:
    keywords = [row for relation in TAXONOMY for row in relation.keywords]
    frame = pl.DataFrame(
        {
            "place": range(1, len(keywords) + 1),
            "relation": [row.relation for row in keywords],
            "keyword": [row.text for row in keywords],
            "matches": [counts.matches.get(row.text, 0) for row in keywords],
            "paper_share": [row.share for row in keywords],
        },
        schema_overrides={"matches": pl.UInt64},
    )
    matches = pl.col("matches")
    of_relation, whole = matches.sum().over("relation"), matches.sum()
    return frame.with_columns(
        keyword_share=_percentage(matches, of_relation),
        share=_percentage(matches, whole),
        relation_share=_percentage(of_relation, whole),
        texts=pl.lit(counts.texts, pl.UInt64),
        texts_matched=pl.lit(counts.texts_matched, pl.UInt64),
    )


def _percentage(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(100 * part / whole)


def with_totals(counts: Mapping[tuple[str, str], KeywordCounts]) -> dict[tuple[str, str], KeywordCounts]:
    """Counts by corpus and scope, and for each scope their sum."""
    return dict(counts) | {
        (TOTAL, scope): sum((counted for (_, of), counted in counts.items() if of == scope), KeywordCounts())
        for scope in (ALL, SPATIAL)
    }


def stored_counts(rows: pl.LazyFrame) -> KeywordCounts:
    """The counts that a stored table's rows of one corpus and scope came of."""
    frame = rows.select("keyword", "matches", "texts", "texts_matched").collect()
    texts, matched = frame.select("texts", "texts_matched").row(0)
    return KeywordCounts(texts, matched, dict(frame.select("keyword", "matches").iter_rows()))


def keyword_concentration(counts: KeywordCounts) -> Concentration:
    """How matches are spread over the 198 keywords. Raises ValueError where nothing matched."""
    return Concentration.of(counts.matches.get(keyword, 0) for keyword in KEYWORDS)


def relation_concentration(counts: KeywordCounts) -> Concentration:
    """How matches are spread over the 29 relations. Raises ValueError where nothing matched."""
    return Concentration.of(relation_matches(counts).values())


def relation_matches(counts: KeywordCounts) -> dict[str, int]:
    """Matches by relation; those of a keyword of two relations count in both."""
    return {relation.name: sum(counts.matches.get(row.text, 0) for row in relation.keywords) for relation in TAXONOMY}


def spread_table(corpora: Mapping[str, KeywordCounts]) -> pl.DataFrame:
    """One row per corpus in which anything matched: how evenly its matches are spread."""
    return pl.DataFrame([_spread(name, counts) for name, counts in corpora.items() if any(counts.matches.values())])


def _spread(name: str, counts: KeywordCounts) -> dict[str, Any]:
    keywords, relations = keyword_concentration(counts), relation_concentration(counts)
    return {
        "corpus": name,
        "texts": counts.texts,
        "texts_matched": counts.texts_matched,
        "matches": sum(relation_matches(counts).values()),
        "keywords_found": sum(share > 0 for share in keywords.shares),
        f"top_{TOP:.0%}_hold": f"{keywords.held_by(TOP):.1%}",
        "entropy_bits": keywords.entropy,
        "evenness": keywords.evenness,
        "gini": keywords.gini,
        "relation_entropy_bits": relations.entropy,
        "relation_gini": relations.gini,
    }


def relation_table(corpora: Mapping[str, KeywordCounts]) -> pl.DataFrame:
    """The 29 relations with their share of all matches, in percent, one column per corpus."""
    columns: dict[str, Any] = {"relation": [relation.name for relation in TAXONOMY]}
    for name, counts in corpora.items():
        matches = relation_matches(counts)
        total = sum(matches.values())
        columns[name] = [100 * amount / total if total else None for amount in matches.values()]
    return pl.DataFrame(columns)


def flatter_by(counts: KeywordCounts, than: KeywordCounts) -> dict[str, float]:
    """How much flatter one corpus is than another: each number is positive where it is flatter.

    Raises ValueError where in one of them nothing matched.
    """
    keywords, others = keyword_concentration(counts), keyword_concentration(than)
    relations, other_relations = relation_concentration(counts), relation_concentration(than)
    return {
        "entropy_gain_bits": keywords.entropy - others.entropy,
        "gini_drop": others.gini - keywords.gini,
        "top_share_drop": others.held_by(TOP) - keywords.held_by(TOP),
        "relation_entropy_gain_bits": relations.entropy - other_relations.entropy,
        "relation_gini_drop": other_relations.gini - relations.gini,
    }
