"""Training rows: which pairs a model is trained on, in which order, and which images are held out (paper 3.7, 4.1).

Choosing, ordering and grouping turns, for pairs and for the captions of the baseline (4.5.5), and counting what was
left out, belong here. Finding contaminated images does not, nor how a row becomes tokens.

**Order.** An image's turns stand in an order drawn by the hash of pair_id, so that every kind of question is asked
first now and then: with benign pairs always behind spatial ones, a small model lost what they were to keep. A
question asked again of the same image, by the folding of check 1, goes; the first by caption_id and generation order
stays, except that no benign pair ever displaces a spatial one.

**Part.** An image is held out by the hash of its canonical id and nothing else, so that another source, share or seed
never moves it.

**Frames of reference** (section 6): where the settings name some, spatial pairs that speak in another are left out,
before questions are compared; benign pairs speak in none and stay.

**Benign pairs** (4.5.2) are those that check 5 alone dropped, by a verdict: a pair whose request failed or whose reply
said nothing is none. They are taken by smallest hash of pair_id up to the share, so that a smaller share is part of
a larger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import polars as pl

from spare_assets.quality.deduplication import folded_question
from spare_assets.settings import TrainingSettings
from spare_assets.storage.queries import database, quoted
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableError, read_batches

Part = Literal["train", "held_out"]

_HASH_DIGITS = 16
_ROW = ("row_id", "part", "image_id", "image_path", "image_sha256", "width", "height")
_FATES = ("turns", "repeated", "without_image", "contaminated", "other_frame", "over_share")


@dataclass(frozen=True, slots=True)
class TrainingCounts:
    """What became of the pairs offered for training.

    `spatial` pairs of the dataset and `benign` ones were offered. Of both, `turns` are in the rows; the others asked
    a question `repeated` for their image, have no usable image file, stand on an excluded image, speak in a frame of
    reference that was not asked for, or are benign and above the share. `benign_turns`, `images`, `held_out_images`,
    `captions` are of what is in the rows.
    """

    spatial: int
    benign: int
    turns: int
    repeated: int
    without_image: int
    contaminated: int
    other_frame: int
    over_share: int
    benign_turns: int
    images: int
    held_out_images: int
    captions: int

    @property
    def offered(self) -> int:
        """Pairs read."""
        return self.spatial + self.benign

    @property
    def parts(self) -> dict[str, int]:
        """Where the offered pairs went, for `conserve`."""
        return {name: getattr(self, name) for name in _FATES}


@dataclass(frozen=True, slots=True)
class ChosenTurns:
    """Turns chosen for training, sorted in a file of their own; a source of rows as often as wanted."""

    turns: Path
    caption_turns: Path
    counts: TrainingCounts

    def samples(self) -> Iterator[pl.DataFrame]:
        """Rows of `training_samples`, sorted by its key, in frames."""
        return _grouped(self.turns, "training_samples")

    def caption_samples(self) -> Iterator[pl.DataFrame]:
        """Rows of `caption_training_samples`, sorted by its key, in frames: the same images, in the same part.

        A turn for every caption that a turn of `samples` came from.
        """
        return _grouped(self.caption_turns, "caption_training_samples")


def part_of(image_id: str, held_out_share: float) -> Part:
    """The part an image belongs to."""
    digits = hashlib.sha256(image_id.encode()).hexdigest()[:_HASH_DIGITS]
    return "held_out" if digits < _hash_below(held_out_share) else "train"


def choose_turns(
    dataset: pl.LazyFrame,
    rejected: Sequence[pl.LazyFrame],
    captions: Sequence[pl.LazyFrame],
    images: Sequence[pl.LazyFrame],
    contaminated: pl.LazyFrame,
    settings: TrainingSettings,
    scratch: Path,
) -> ChosenTurns:
    """Choose and order the turns of all training rows.

    `dataset` is `spare_dataset`; `rejected`, `captions` and `images` are the tables `rejected_pairs`,
    `spatial_captions` and `images` of every source in it; `contaminated` is `contaminated_images`. An image is usable
    where any source holds a file of it; of several the first by source counts. Everything large is sorted and joined
    on disk, below the folder `scratch`, which holds the chosen turns until it is removed.

    Raises TableError where the settings ask for frames of reference and the dataset's pairs are not marked.
    """
    inputs = {
        "spatial": _spatial_pairs(dataset, marked=settings.frames is not None),
        "benign": pl.concat([_benign_pairs(table) for table in rejected]),
        "captions": pl.concat([table.select("caption_id", "image_id", "caption") for table in captions]),
        "images": pl.concat(list(images))
        .filter(pl.col("status") == "ok")
        .select("image_id", "source", "width", "height", image_path="path", image_sha256="sha256"),
        "contaminated": contaminated.select("image_id").unique(),
    }
    turns, caption_turns = scratch / "turns.parquet", scratch / "caption_turns.parquet"
    with database(scratch) as joining:
        for name, frame in inputs.items():
            path = scratch / f"{name}.parquet"
            frame.sink_parquet(path)
            joining.execute(f"CREATE VIEW {name} AS FROM read_parquet('{quoted(path)}')")
        joining.execute(_FILES)
        wanted = list(settings.frames) if settings.frames else None
        joining.execute(_JUDGED, {"exclude": settings.contamination == "exclude", "frames": wanted})
        spatial = joining.execute("SELECT count(*) FROM judged WHERE fate = 'turns'")[0][0]
        share = Fraction(str(settings.benign_share))
        joining.execute(_ACCEPTED, [int(share * spatial / (1 - share))])
        joining.execute(_CHOSEN, [_hash_below(settings.held_out_share)])
        by_pair = settings.unit == "pair"
        joining.execute(f"COPY ({_TURNS}) TO '{quoted(turns)}' (FORMAT parquet)", [by_pair])
        joining.execute(
            f"COPY ({_CAPTION_TURNS}) TO '{quoted(caption_turns)}' (FORMAT parquet)",
            [by_pair, settings.caption_instruction],
        )
        counts = TrainingCounts(*joining.execute(_COUNTED)[0])
    return ChosenTurns(turns, caption_turns, counts)


_FILES = """
CREATE TABLE files AS
SELECT DISTINCT ON (image_id) image_id, image_path, image_sha256, width, height FROM images
ORDER BY image_id, source, image_path
"""

_JUDGED = """
CREATE TABLE judged AS
WITH offered AS (
    SELECT * EXCLUDE (frame), false AS benign, $frames::VARCHAR[] IS NOT NULL
        AND NOT coalesce(list_contains($frames::VARCHAR[], frame), false) AS other_frame FROM spatial
    UNION ALL BY NAME
    SELECT benign.*, captions.image_id, true AS benign, false AS other_frame
    FROM benign LEFT JOIN captions USING (caption_id)
)
SELECT offered.*, CASE
    WHEN files.image_id IS NULL THEN 'without_image'
    WHEN contaminated.image_id IS NOT NULL AND $exclude THEN 'contaminated'
    WHEN other_frame THEN 'other_frame'
    WHEN row_number() OVER (
        PARTITION BY offered.image_id, folded, other_frame ORDER BY benign, caption_id, position
    ) > 1 THEN 'repeated'
    WHEN benign THEN 'benign'
    ELSE 'turns'
END AS fate
FROM offered LEFT JOIN files USING (image_id) LEFT JOIN contaminated USING (image_id)
"""

_ACCEPTED = """
CREATE TABLE accepted AS
SELECT pair_id FROM judged WHERE fate = 'benign' ORDER BY sha256(pair_id), pair_id LIMIT ?
"""

_CHOSEN = f"""
CREATE TABLE chosen AS
SELECT judged.* EXCLUDE (fate, folded, other_frame),
    CASE WHEN fate <> 'benign' THEN fate WHEN accepted.pair_id IS NULL THEN 'over_share' ELSE 'turns' END AS fate,
    CASE WHEN substr(sha256(image_id), 1, {_HASH_DIGITS}) < ? THEN 'held_out' ELSE 'train' END AS part
FROM judged LEFT JOIN accepted USING (pair_id)
"""

_TURNS = """
SELECT image_id || CASE WHEN ? THEN '#' || pair_id ELSE '' END AS row_id, part, files.*,
    pair_id, question, answer, benign
FROM chosen JOIN files USING (image_id)
WHERE fate = 'turns'
ORDER BY row_id, sha256('turn ' || pair_id), pair_id
"""

_CAPTION_TURNS = """
SELECT image_id || CASE WHEN ? THEN '#' || caption_id ELSE '' END AS row_id, part, files.*,
    caption_id AS pair_id, ? AS question, caption AS answer, false AS benign
FROM (SELECT DISTINCT image_id, part, caption_id FROM chosen WHERE fate = 'turns')
JOIN files USING (image_id) JOIN (SELECT caption_id, caption FROM captions) USING (caption_id)
ORDER BY row_id, caption_id
"""

_COUNTED = """
SELECT count(*) FILTER (NOT benign), count(*) FILTER (benign),
    count(*) FILTER (fate = 'turns'), count(*) FILTER (fate = 'repeated'), count(*) FILTER (fate = 'without_image'),
    count(*) FILTER (fate = 'contaminated'), count(*) FILTER (fate = 'other_frame'),
    count(*) FILTER (fate = 'over_share'),
    count(*) FILTER (fate = 'turns' AND benign), count(DISTINCT image_id) FILTER (fate = 'turns'),
    count(DISTINCT image_id) FILTER (fate = 'turns' AND part = 'held_out'),
    count(DISTINCT caption_id) FILTER (fate = 'turns')
FROM chosen
"""


def offered_pairs(dataset: pl.LazyFrame, rejected: Sequence[pl.LazyFrame]) -> int:
    """Pairs that `choose_turns` is offered, counted from what it reads."""
    spatial = dataset.select(pl.col("pairs").list.len().sum()).collect().item() or 0
    benign = [_benign_pairs(table).select(pl.len()).collect().item() for table in rejected]
    return int(spatial + sum(benign))


def _spatial_pairs(dataset: pl.LazyFrame, *, marked: bool) -> pl.LazyFrame:
    """Surviving pairs, one row each; `position` is their place among the sample's, `frame` null unless `marked`."""
    if marked and "frame" not in _pair_fields(dataset):
        raise TableError(
            "spare_dataset was made before its pairs were marked with a frame of reference, and `training.frames` asks "
            "for some: materialize spare_dataset again, which asks no model anything"
        )
    frame = pl.col("frame") if marked else pl.lit(None, pl.String)
    return (
        dataset.select("image_id", "caption_id", "pairs", position=pl.int_ranges(pl.col("pairs").list.len()))
        .explode("pairs", "position")
        .unnest("pairs")
        .filter(pl.col("pair_id").is_not_null())
        .select(
            "image_id",
            "caption_id",
            "position",
            "pair_id",
            "question",
            "answer",
            frame.alias("frame"),
            folded=folded_question(),
        )
    )


def _pair_fields(dataset: pl.LazyFrame) -> list[str]:
    pairs = dataset.collect_schema()["pairs"]
    inner = pairs.inner if isinstance(pairs, pl.List) else None
    return [field.name for field in inner.fields] if isinstance(inner, pl.Struct) else []


def _benign_pairs(rejected: pl.LazyFrame) -> pl.LazyFrame:
    """Pairs that check 5 dropped by a verdict; one without a readable reply has no score."""
    return rejected.filter((pl.col("check") == "spatial") & pl.col("score").is_not_null()).select(
        "caption_id", pl.col("position").cast(pl.Int64), "pair_id", "question", "answer", folded=folded_question()
    )


def _hash_below(share: float) -> str:
    """The hexadecimal digits below which a share of all hashes begin."""
    return format(int(Fraction(str(share)) * 16**_HASH_DIGITS), f"0{_HASH_DIGITS}x")


def _grouped(turns: Path, table: str) -> Iterator[pl.DataFrame]:
    """Rows from sorted turns; the turns of the last row of a batch wait for the next one."""
    waiting: pl.DataFrame | None = None
    for batch in read_batches(turns):
        frame = batch if waiting is None else pl.concat([waiting, batch])
        last = frame["row_id"] == frame.item(-1, "row_id")
        waiting = frame.filter(last)
        if not last.all():
            yield _rows(frame.filter(~last), table)
    if waiting is not None:
        yield _rows(waiting, table)


def _rows(turns: pl.DataFrame, table: str) -> pl.DataFrame:
    return (
        turns.group_by("row_id", maintain_order=True)
        .agg(pl.col(*_ROW[1:]).first(), turns=pl.struct("pair_id", "question", "answer", "benign"))
        .select(TABLES[table].names)
        .cast(TABLES[table].polars())
    )
