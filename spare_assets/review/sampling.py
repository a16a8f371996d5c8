"""What people are asked to look at: how many, how many of each source, and which (paper 3.4, Appendix E).

Which rows exist and what is shown of them is decided elsewhere; here they are counted out and drawn.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import polars as pl

from spare_assets.relations.matcher import keywords_in
from spare_assets.relations.taxonomy import RELATIONS_OF_KEYWORD, TAXONOMY
from spare_assets.settings import ReviewSettings
from spare_assets.storage.queries import database
from spare_assets.storage.schemas import TABLES


def sample_size(population: int, confidence: float = 1.96, proportion: float = 0.5, margin: float = 0.05) -> int:
    """Units to look at, with finite-population correction (Appendix E.1): 384 of 455,494 by default."""
    if population < 1:
        return 0
    spread = confidence**2 * proportion * (1 - proportion)
    return math.ceil(population * spread / (margin**2 * (population - 1) + spread))


def rounded_size(population: int, settings: ReviewSettings) -> int:
    """The sample size rounded up as the settings say; never more than there is."""
    size = sample_size(population, settings.confidence, settings.proportion, settings.margin)
    return min(population, -(-size // settings.round_up_to) * settings.round_up_to)


def apportion(size: int, populations: Mapping[str, int]) -> dict[str, int]:
    """How many units of each stratum: one of each that has any, the others in proportion to their populations.

    Seats go one by one to the stratum that is shortest of its share (Sainte-Laguë), so a larger size takes nothing
    from any stratum; counting by largest remainders would, and a larger sample would not hold a smaller one.
    """
    seats = dict.fromkeys(populations, 0)
    # A stratum without a seat comes before all that have one, the larger first.
    waiting = [(0, Fraction(-count), name) for name, count in populations.items() if count > 0]
    heapq.heapify(waiting)
    for _ in range(min(size, sum(populations.values()))):
        _, _, name = heapq.heappop(waiting)
        seats[name] += 1
        if seats[name] < populations[name]:
            heapq.heappush(waiting, (1, Fraction(-populations[name], 2 * seats[name] + 1), name))
    return seats


def halves(size: int, spatial: int, others: int) -> tuple[int, int]:
    """How many of the captions judged spatial and how many of the others: half each, or what there is."""
    chosen = min(spatial, max(-(-size // 2), size - others))
    return chosen, min(others, size - chosen)


def draw_pairs(dataset: Path, settings: ReviewSettings, scratch: Path) -> pl.DataFrame:
    """Pairs drawn from the file of `spare_dataset`: rows of `review_sample`, sorted by its key.

    With `unit` sample a caption is drawn and then one of its pairs, so that no two pairs share a caption. The draw
    goes by hash of ids: equal for equal tables, and a larger sample holds every smaller one.
    """
    per_unit = "arg_min(pair_id, pair_draw)" if settings.unit == "sample" else "pair_id"
    unit_draw = "min(caption_draw)" if settings.unit == "sample" else "pair_draw"
    grouped = "GROUP BY source, caption_id" if settings.unit == "sample" else ""
    with database(scratch) as drawing:
        drawing.execute(
            "CREATE TABLE units AS WITH pairs AS ("
            " SELECT source, caption_id, unnest(pairs).pair_id AS pair_id, sha256($salt || caption_id) AS caption_draw"
            " FROM read_parquet($path)), drawn AS (SELECT *, sha256($salt || pair_id) AS pair_draw FROM pairs)"
            f" SELECT source, caption_id, {per_unit} AS pair_id, {unit_draw} AS draw FROM drawn {grouped}",
            {"path": str(dataset), "salt": f"{settings.seed} "},
        )
        populations = dict(drawing.execute("SELECT source, count(*) FROM units GROUP BY source"))
        seats = apportion(rounded_size(sum(populations.values()), settings), populations)
        chosen = [
            (*unit, populations[source] / count)
            for source, count in sorted(seats.items())
            for unit in drawing.execute(_DRAWN, [source, count])
        ]
    columns = {"source": pl.String, "caption_id": pl.String, "pair_id": pl.String, "draw": pl.String}
    drawn = pl.DataFrame(chosen, schema=columns | {"weight": pl.Float64}, orient="row")
    samples = pl.scan_parquet(dataset, glob=False)
    rows = (
        samples.join(drawn.lazy().select("caption_id").unique(), on="caption_id", how="semi")
        .select("caption_id", "caption", "image_path", "pairs")
        .explode("pairs")
        .select("caption", "image_path", pl.col("pairs").struct.field("pair_id", "question", "answer"))
        .join(drawn.lazy(), on="pair_id", how="inner")
        .sort("draw")
        .with_row_index("place", 1)
        .collect(engine="streaming")
    )
    relations = [relations_of(found) for found in rows.select(keywords_in(_QUESTION_AND_ANSWER)).to_series()]
    named = rows.with_columns(pl.Series("relations", relations, dtype=pl.List(pl.String)))
    schema = TABLES["review_sample"]
    return named.cast({"place": pl.UInt32}).select(schema.names).sort(schema.key)


def draw_captions(
    captions: Iterable[pl.LazyFrame], verdicts: Iterable[Path], settings: ReviewSettings, scratch: Path
) -> pl.DataFrame:
    """Captions drawn from the files of `caption_verdicts`: rows of `caption_review_sample`, sorted by its key.

    Half are among those judged spatial, half among the others, so that what the pre-filter missed can be estimated
    by `weight`. Captions that it failed to judge are in neither half.
    """
    schema = TABLES["caption_review_sample"]
    paths = [str(path) for path in verdicts]
    if not paths:
        return schema.empty()
    with database(scratch) as drawing:
        judged = "FROM read_parquet(?) WHERE outcome <> 'failed' AND kept = ?"
        counted = [drawing.execute(f"SELECT count(*) {judged}", [paths, kept]) for kept in (True, False)]
        populations = [int(rows[0][0]) for rows in counted]
        drawn = [
            (*row, population / count)
            for kept, population, count in zip(
                (True, False), populations, halves(settings.captions, *populations), strict=True
            )
            for row in drawing.execute(
                f"SELECT caption_id, kept, sha256(? || caption_id) AS draw {judged} ORDER BY draw, caption_id LIMIT ?",
                [f"{settings.seed} ", paths, kept, count],
            )
        ]
    columns = {"caption_id": pl.String, "judged_spatial": pl.Boolean, "draw": pl.String, "weight": pl.Float64}
    chosen = pl.DataFrame(drawn, schema=columns, orient="row")
    texts = [
        frame.join(chosen.lazy().select("caption_id"), on="caption_id", how="semi")
        .select("caption_id", "source", "caption")
        .collect(engine="streaming")
        for frame in captions
    ]
    rows = pl.concat(texts).join(chosen, on="caption_id", how="inner").sort("draw").with_row_index("place", 1)
    return rows.cast({"place": pl.UInt32}).select(schema.names).sort(schema.key)


def relations_of(keywords: Iterable[str]) -> list[str]:
    """Relations that keywords belong to, in the order of Table 11."""
    found = {relation for keyword in keywords for relation in RELATIONS_OF_KEYWORD[keyword]}
    return [relation.name for relation in TAXONOMY if relation.name in found]


_DRAWN = "SELECT source, caption_id, pair_id, draw FROM units WHERE source = ? ORDER BY draw, pair_id LIMIT ?"
_QUESTION_AND_ANSWER = pl.concat_str("question", "answer", separator="\n")
