"""The tables of the graph: columns, types, keys, what each column means and what it is made of, declared once.

Whatever writes, reads, documents or queries a table takes its shape from here. Logic does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from spare_assets.settings import BENCHMARKS

PAIR = pl.Struct(
    {
        "pair_id": pl.String,
        "question": pl.String,
        "answer": pl.String,
        "alignment_score": pl.Float32,
        "frame": pl.String,
    }
)
"""`frame` is the frame of reference: viewer, object, ambiguous or none."""

TURN = pl.Struct({"pair_id": pl.String, "question": pl.String, "answer": pl.String, "benign": pl.Boolean})


OPTION = pl.Struct({"letter": pl.String, "text": pl.String})


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `dtype` None stands for a CLIP embedding, whose width the model decides."""

    name: str
    dtype: pl.DataType | type[pl.DataType] | None
    description: str


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One table: its columns in order and the key it is sorted by and unique in.

    `carried_from` names tables whose columns of the same name it takes over as they are. `made_from` names, by column,
    the columns of other tables (`table.column`) that decide its values, and goes before. A column of neither is made
    here, or read from files. Both speak of tables directly upstream in the graph.
    """

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition: Literal["source", "model"] | None = "source"
    carried_from: tuple[str, ...] = ()
    made_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def partitioned(self) -> bool:
        """Whether it is stored in parts, one file per partition key."""
        return self.partition is not None

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    def polars(self, embedding_width: int = 1) -> pl.Schema:
        """Polars schema, with embeddings of the given width."""
        embedding = pl.Array(pl.Float16, embedding_width)
        return pl.Schema({c.name: embedding if c.dtype is None else c.dtype for c in self.columns})

    def empty(self) -> pl.DataFrame:
        """A table without rows, typed."""
        return pl.DataFrame(schema=self.polars())


_CAPTION_ID = Column("caption_id", pl.String, "Identity of the caption (a sample): source key, colon, native id")
_PAIR_ID = Column("pair_id", pl.String, "Identity of the pair, from caption, question, answer and ordinal")
_SOURCE = Column("source", pl.String, "Source key, the partition")
_IMAGE_ID = Column("image_id", pl.String, "Canonical image id, equal across captions and sources")
_QUESTION = Column("question", pl.String, "Generated question")
_ANSWER = Column("answer", pl.String, "Generated answer")
_KEPT = Column("kept", pl.Boolean, "Whether the row passed")
_REASON = Column("reason", pl.String, "Why, in words; empty where it simply passed")

_CAPTION_COLUMNS = (
    _CAPTION_ID,
    _SOURCE,
    Column("split", pl.String, "Split of the release, where it has one"),
    _IMAGE_ID,
    Column("image_set", pl.String, "Image set within the source, which names the folder to look in"),
    Column("image_file", pl.String, "Image file name relative to its set's folder, where known"),
    Column("image_url", pl.String, "Public address of the image, where known"),
    Column("caption", pl.String, "The caption as released"),
    Column("words", pl.UInt32, "Whitespace-separated words in the caption"),
    Column("native", pl.String, "Remaining native fields, as JSON"),
)
_PAIR_COLUMNS = (
    _PAIR_ID,
    _CAPTION_ID,
    _SOURCE,
    Column("position", pl.UInt32, "Place of the pair in its reply, from 0"),
    _QUESTION,
    _ANSWER,
)
_SCORED = (
    _KEPT,
    Column("score", pl.Float32, "What was compared with the threshold; null where nothing was scored"),
    Column("threshold", pl.Float32, "The cut-off in force; null where there is none"),
)
_VERDICT_COLUMNS = (
    _PAIR_ID,
    Column("caption_id", pl.String, "Caption the pair came from"),
    _SOURCE,
    Column("position", pl.UInt32, "Place of the pair in its reply, from 0"),
    *_SCORED,
    _REASON,
)
_PAIR_KEY = ("caption_id", "position")
_CHECKS = ("deduplication", "reference", "grounding", "alignment", "spatial")
_MODEL = Column("model", pl.String, "Model key, the partition")
_REVIEWED = (
    Column("kind", pl.String, "pair or caption"),
    Column("item", pl.String, "Id of the pair or caption"),
)
_REVIEWED_ITEM = ("review_sample.pair_id", "caption_review_sample.caption_id")
_TWO_REVIEWERS = (
    Column("reviewer", pl.String, "One reviewer"),
    Column("other", pl.String, "Another, later in the alphabet"),
)
_TRAINING_IMAGE = (
    Column("image_path", pl.String, "Absolute path of the image"),
    Column("image_sha256", pl.String, "Hash of the image's bytes"),
    Column("width", pl.UInt32, "Pixels, after EXIF rotation"),
    Column("height", pl.UInt32, "Pixels, after EXIF rotation"),
)


def _each(columns: str, *made_from: str) -> dict[str, tuple[str, ...]]:
    """The same origins for several columns, whose names are separated by spaces."""
    return dict.fromkeys(columns.split(), made_from)


_TRAINING_IMAGE_FROM = {
    **_each("row_id part", "spare_dataset.image_id"),
    "image_path": ("images.path",),
    "image_sha256": ("images.sha256",),
    "width": ("images.width",),
    "height": ("images.height",),
}
_TRAINED_ON = tuple(
    f"{rows}.{column}"
    for rows in ("training_samples", "caption_training_samples")
    for column in ("image_path", "turns")
)

_FILE = (
    Column("file", pl.String, "File, relative to its folder"),
    Column("rows", pl.UInt64, "Rows of data in it; null where it holds none"),
    Column("bytes", pl.UInt64, "Its size"),
    Column("sha256", pl.String, "Hash of its bytes"),
)


def _kept_pairs(name: str, description: str, checked: str) -> TableSchema:
    return TableSchema(name, description, _PAIR_KEY, _PAIR_COLUMNS, carried_from=(checked,))


def _scores(benchmark: str) -> TableSchema:
    return TableSchema(
        f"{benchmark}_score",
        f"Scores of one model on {benchmark}: every metric, over all and by category.",
        ("metric", "category"),
        (
            _MODEL,
            Column("metric", pl.String, "Metric, such as `accuracy` or `circular accuracy`"),
            Column("category", pl.String, "Category it is of; empty for all questions"),
            Column("value", pl.Float64, "The score, in the points the benchmark counts in"),
            Column("low", pl.Float64, "Lower end of the 95 % bootstrap interval"),
            Column("high", pl.Float64, "Upper end of the 95 % bootstrap interval"),
            Column("units", pl.UInt64, "What it is over: questions, pairs or groups"),
            Column("chance", pl.Float64, "The same score by uniform guessing; null where it can't be computed"),
            Column("headline", pl.Boolean, "Whether it is a column of the leaderboard"),
        ),
        partition="model",
        carried_from=("checkpoint",),
        made_from=_each("value low high", "checkpoint.fingerprint"),
    )


def _predictions(benchmark: str) -> TableSchema:
    return TableSchema(
        f"{benchmark}_predictions",
        f"What one model said to every question of {benchmark}, next to the truth (paper 4.3).",
        ("item",),
        (
            _MODEL,
            Column("item", pl.String, "Question within the benchmark: the record's index, or its line or place"),
            Column("form", pl.String, "choice, captions, statement, yes_no, short or as_it_stands"),
            Column("category", pl.String, "Category of the question"),
            Column("group", pl.String, "What it is scored or sampled with: passes of one question, a set of captions"),
            Column("native", pl.String, "Remaining fields of the record, as JSON"),
            Column("question", pl.String, "The question or statement"),
            Column("options", pl.List(OPTION), "Options, by letter"),
            Column("answers", pl.List(pl.String), "What counts as right"),
            Column("images", pl.List(pl.String), "Absolute paths of its images"),
            Column("prompt", pl.String, "The message as sent, after the images"),
            Column("reply", pl.String, "What the model said"),
            Column("outcome", pl.String, "answered, unparsed, truncated, failed, not asked or unreadable record"),
            Column("reason", pl.String, "Why, where it is not `answered`"),
            Column("prediction", pl.String, "The answer read out of the reply; null where there is none"),
            Column("score", pl.Float64, "Credit, from 0 to 1; null for unreadable records, which no score counts"),
            Column("chance", pl.Float64, "Chance of a right guess; null where it can't be told"),
        ),
        partition="model",
        carried_from=("checkpoint",),
        made_from=_each("reply outcome reason prediction score", "checkpoint.fingerprint"),
    )


def _of_predictions(column: str) -> tuple[str, ...]:
    return tuple(f"{benchmark}_predictions.{column}" for benchmark in BENCHMARKS)


def _verdicts(name: str, description: str, checked: str, *judged_by: str) -> TableSchema:
    return TableSchema(
        name,
        f"{description} One verdict per pair that came in.",
        _PAIR_KEY,
        _VERDICT_COLUMNS,
        carried_from=(checked,),
        made_from=_each("kept score reason", *judged_by),
    )


def _frequencies(
    name: str, description: str, corpus: Column, partition: Literal["source"] | None, *counted: str
) -> TableSchema:
    tables = sorted({origin.partition(".")[0] for origin in counted})
    return TableSchema(
        name,
        description,
        ("scope", "place") if partition else (corpus.name, "scope", "place"),
        (
            corpus,
            Column("scope", pl.String, "all: every text; spatial: those judged to be about space first"),
            Column("place", pl.UInt16, "Row of Table 11, from 1 to 201"),
            Column("relation", pl.String, "One of 29 spatial relations"),
            Column("keyword", pl.String, "One of 198 keywords; three of them stand in two relations"),
            Column("matches", pl.UInt64, "Whole-word matches, overlaps with other keywords included"),
            Column("keyword_share", pl.Float64, "Percent of its relation's matches; null where it has none"),
            Column("share", pl.Float64, "Percent of all matches; adds up to 100 over the 201 rows"),
            Column("relation_share", pl.Float64, "Percent of all matches that are its relation's"),
            Column("paper_share", pl.Float64, "Percent of all matches that the paper prints (0 for about zero)"),
            Column("texts", pl.UInt64, "Texts read"),
            Column("texts_matched", pl.UInt64, "Texts that hold any keyword"),
        ),
        partition=partition,
        made_from=_each("source", *(f"{table}.source" for table in tables))
        | _each("matches keyword_share share relation_share texts texts_matched", *counted)
        if counted
        else {},
    )


def _export(name: str, description: str) -> TableSchema:
    return TableSchema(
        name,
        f"The dataset {description}: the data files that were written.",
        ("file",),
        (
            Column("file", pl.String, "Name within the export's folder"),
            Column("part", pl.String, "train or held_out, by image"),
            Column("rows", pl.UInt64, "Rows, or array members, of the file"),
            Column("pairs", pl.UInt64, "Pairs in them"),
            Column("images", pl.UInt64, "Rows that have an image"),
            Column("bytes", pl.UInt64, "Size of the file"),
            Column("sha256", pl.String, "Hash of the file's bytes"),
        ),
        partition=None,
        made_from={
            "part": ("spare_dataset.image_id",),
            "rows": ("spare_dataset.caption_id",),
            "pairs": ("spare_dataset.pairs",),
            "images": ("spare_dataset.image_sha256",),
        },
    )


_TABLES = (
    TableSchema("captions", "Every caption of a source as released, one row each.", ("caption_id",), _CAPTION_COLUMNS),
    TableSchema(
        "quarantined_captions",
        "Rows of a source that could not be read as captions: where they stand, what is wrong, and the raw text.",
        ("file", "line"),
        (
            _SOURCE,
            Column("file", pl.String, "File name within the source"),
            Column("line", pl.UInt64, "Line (text files) or row (Parquet), from 1"),
            Column("reason", pl.String, "What is wrong with it"),
            Column("raw", pl.String, "The row as read, cut to 10,000 characters"),
        ),
    ),
    TableSchema(
        "caption_verdicts",
        "Does the caption say explicitly where something is? One verdict per caption (paper 3.2.1, pre-filtering).",
        ("caption_id",),
        (
            _CAPTION_ID,
            _SOURCE,
            *_SCORED,
            Column("outcome", pl.String, "ok, truncated, malformed or failed"),
            _REASON,
        ),
        carried_from=("captions",),
        made_from=_each("kept score outcome reason", "captions.caption"),
    ),
    TableSchema(
        "spatial_captions",
        "Captions that say explicitly where something is. Only these are asked for pairs.",
        ("caption_id",),
        _CAPTION_COLUMNS,
        carried_from=("captions",),
    ),
    TableSchema(
        "generation_outcomes",
        "What came of asking for pairs: one row per spatial caption (paper 3.2.1).",
        ("caption_id",),
        (
            _CAPTION_ID,
            _SOURCE,
            Column("outcome", pl.String, "ok, none, truncated, malformed or failed"),
            Column("pairs", pl.UInt32, "Pairs kept from the reply"),
            _REASON,
        ),
        carried_from=("spatial_captions",),
        made_from=_each("outcome pairs reason", "spatial_captions.caption"),
    ),
    TableSchema(
        "qa_pairs",
        "Question-answer pairs about space, as an engine wrote them from the caption alone.",
        _PAIR_KEY,
        _PAIR_COLUMNS,
        carried_from=("spatial_captions",),
        made_from=_each("position question answer", "spatial_captions.caption")
        | _each("pair_id", "spatial_captions.caption_id", "spatial_captions.caption"),
    ),
    TableSchema(
        "question_embeddings",
        "Questions as CLIP vectors of unit length: what checks 1 and 4 compare.",
        _PAIR_KEY,
        (
            _PAIR_ID,
            Column("caption_id", pl.String, "Caption the pair came from"),
            _SOURCE,
            Column("position", pl.UInt32, "Place of the pair in its reply, from 0"),
            Column("embedding", None, "Unit vector, half precision"),
        ),
        carried_from=("qa_pairs",),
        made_from=_each("embedding", "qa_pairs.question"),
    ),
    _verdicts(
        "deduplication_verdicts",
        "Check 1 (paper 3.3): is the question new within its sample?",
        "qa_pairs",
        "qa_pairs.question",
        "question_embeddings.embedding",
    ),
    _kept_pairs("deduplicated_pairs", "Pairs that passed check 1: no question twice in a sample.", "qa_pairs"),
    _verdicts(
        "reference_verdicts",
        "Check 2 (paper 3.3): does the pair talk of the image, not of the description?",
        "deduplicated_pairs",
        "deduplicated_pairs.question",
        "deduplicated_pairs.answer",
    ),
    _kept_pairs(
        "reference_checked_pairs",
        "Pairs that passed checks 1 and 2: they speak of the image, not of its description.",
        "deduplicated_pairs",
    ),
    _verdicts(
        "grounding_verdicts",
        "Check 3 (paper 3.3): does the answer, or key phrases of it, stand in the caption?",
        "reference_checked_pairs",
        "reference_checked_pairs.answer",
        "spatial_captions.caption",
    ),
    _kept_pairs(
        "grounded_pairs",
        "Pairs that passed checks 1 to 3: the caption bears the answer out.",
        "reference_checked_pairs",
    ),
    TableSchema(
        "images",
        "Images the surviving pairs need: where they are, or why they can't be had.",
        ("image_id",),
        (
            _IMAGE_ID,
            _SOURCE,
            Column("status", pl.String, "ok, missing, unreadable, refused or http"),
            Column("http_status", pl.UInt16, "Status code of the last answer, where one came"),
            Column("detail", pl.String, "Why it can't be had"),
            Column("path", pl.String, "Absolute path of the file, where status is ok"),
            Column("url", pl.String, "Address it was asked from, where it was"),
            Column("sha256", pl.String, "Hash of the file's bytes"),
            Column("perceptual_hash", pl.String, "64-bit perceptual hash, hexadecimal"),
            Column("width", pl.UInt32, "Pixels, after EXIF rotation"),
            Column("height", pl.UInt32, "Pixels, after EXIF rotation"),
            Column("bytes", pl.UInt64, "Size of the file"),
        ),
        carried_from=("captions",),
        made_from=_each(
            "status http_status detail path", "captions.image_set", "captions.image_file", "captions.image_url"
        )
        | _each("url", "captions.image_url"),
    ),
    TableSchema(
        "image_embeddings",
        "Images as CLIP vectors of unit length: what check 4 holds questions against.",
        ("image_id",),
        (
            _IMAGE_ID,
            _SOURCE,
            Column("sha256", pl.String, "Hash of the image's bytes"),
            Column("embedding", None, "Unit vector, half precision"),
        ),
        carried_from=("images",),
        made_from=_each("embedding", "images.path"),
    ),
    _verdicts(
        "alignment_verdicts",
        "Check 4 (paper 3.3): does the question fit the image?",
        "grounded_pairs",
        "question_embeddings.embedding",
        "image_embeddings.embedding",
        "images.status",
    ),
    _kept_pairs("aligned_pairs", "Pairs that passed checks 1 to 4: the question fits the image.", "grounded_pairs"),
    _verdicts(
        "spatial_verdicts",
        "Check 5 (paper 3.3): does the pair itself ask about space?",
        "aligned_pairs",
        "aligned_pairs.question",
        "aligned_pairs.answer",
    ),
    _kept_pairs("spatial_pairs", "Pairs that passed all five checks: they make up the dataset.", "aligned_pairs"),
    TableSchema(
        "rejected_pairs",
        "The drop ledger: every generated pair that did not survive, and which check dropped it (paper 3.3).",
        _PAIR_KEY,
        (
            _PAIR_ID,
            Column("caption_id", pl.String, "Caption the pair came from"),
            _SOURCE,
            Column("position", pl.UInt32, "Place of the pair in its reply, from 0"),
            Column("check", pl.String, "deduplication, reference, grounding, alignment or spatial"),
            Column("score", pl.Float32, "What was compared with the threshold"),
            Column("threshold", pl.Float32, "The cut-off in force"),
            _REASON,
            _QUESTION,
            _ANSWER,
            Column("caption", pl.String, "The caption it came from"),
        ),
        carried_from=("qa_pairs",),
        made_from={
            "check": tuple(f"{check}_verdicts.kept" for check in _CHECKS),
            "score": tuple(f"{check}_verdicts.score" for check in _CHECKS),
            "threshold": tuple(f"{check}_verdicts.threshold" for check in _CHECKS),
            "reason": tuple(f"{check}_verdicts.reason" for check in _CHECKS),
            "caption": ("spatial_captions.caption",),
        },
    ),
    TableSchema(
        "spare_dataset",
        "The dataset: captions with their image and surviving question-answer pairs, over all materialized sources.",
        ("caption_id",),
        (
            _CAPTION_ID,
            _SOURCE,
            Column("split", pl.String, "Split of the release, where it has one"),
            _IMAGE_ID,
            Column("image_path", pl.String, "Absolute path of the image; null where it passed unscored"),
            Column("image_sha256", pl.String, "Hash of the image's bytes"),
            Column("caption", pl.String, "The caption as released"),
            Column("pairs", pl.List(PAIR), "Surviving pairs in generation order"),
        ),
        partition=None,
        carried_from=("spatial_captions",),
        made_from={
            "image_path": ("images.path",),
            "image_sha256": ("images.sha256",),
            "pairs": (
                "spatial_pairs.pair_id",
                "spatial_pairs.question",
                "spatial_pairs.answer",
                "alignment_verdicts.score",
            ),
        },
    ),
    TableSchema(
        "dataset_statistics",
        "Table 1 of the paper: captions read, filtered and in the dataset, words and pairs, per source and in total.",
        ("source",),
        (
            Column("source", pl.String, "Source key, or `total`"),
            Column("captions", pl.UInt64, "Captions read (Table 1: Size)"),
            Column("spatial_captions", pl.UInt64, "Captions past the pre-filter"),
            Column(
                "captions_with_image",
                pl.UInt64,
                "Spatial captions with pairs after check 3 and a usable image",
            ),
            Column("samples", pl.UInt64, "Final samples (Table 1: Filtered)"),
            Column("mean_words", pl.Float64, "Mean words over all captions read (Table 1: Words)"),
            Column("pairs", pl.UInt64, "Surviving pairs (Table 1: Gen. Pairs)"),
        ),
        partition=None,
        made_from={
            "source": ("captions.source",),
            "captions": ("captions.caption_id",),
            "spatial_captions": ("spatial_captions.caption_id",),
            "captions_with_image": ("spatial_captions.image_id", "grounded_pairs.caption_id", "images.status"),
            "samples": ("spatial_pairs.caption_id",),
            "mean_words": ("captions.words",),
            "pairs": ("spatial_pairs.pair_id",),
        },
    ),
    TableSchema(
        "benchmark_images",
        "Images of the benchmarks, and which benchmarks could not be checked because theirs are absent.",
        ("benchmark", "item"),
        (
            Column("benchmark", pl.String, "Benchmark key"),
            Column("item", pl.String, "Record of the benchmark the image belongs to"),
            Column("status", pl.String, "hashed, id only, or unreadable"),
            _IMAGE_ID,
            Column("perceptual_hash", pl.String, "64-bit perceptual hash, hexadecimal; null where no file was at hand"),
        ),
        partition=None,
    ),
    TableSchema(
        "contaminated_images",
        "Images of the dataset that a benchmark uses as well.",
        ("image_id", "benchmark", "item"),
        (
            _IMAGE_ID,
            Column("benchmark", pl.String, "Benchmark key"),
            Column("item", pl.String, "Record of the benchmark"),
            Column("match", pl.String, "id, hash, or id and hash"),
            Column("distance", pl.UInt8, "Differing bits of the two perceptual hashes; null where one is absent"),
        ),
        partition=None,
        carried_from=("benchmark_images",),
        made_from={
            "image_id": ("images.image_id",),
            "match": (
                "images.image_id",
                "images.perceptual_hash",
                "benchmark_images.image_id",
                "benchmark_images.perceptual_hash",
            ),
            "distance": ("images.perceptual_hash", "benchmark_images.perceptual_hash"),
        },
    ),
    TableSchema(
        "training_samples",
        "What the model is trained on: one row per image with its question-answer turns (or one per pair).",
        ("row_id",),
        (
            Column("row_id", pl.String, "Identity of the row: the image, and the pair where a row holds one"),
            Column("part", pl.String, "train or held_out, by image"),
            _IMAGE_ID,
            *_TRAINING_IMAGE,
            Column("turns", pl.List(TURN), "Turns in order; the image goes with the first question"),
        ),
        partition=None,
        carried_from=("spare_dataset",),
        made_from=_TRAINING_IMAGE_FROM
        | _each("turns", "spare_dataset.pairs", "rejected_pairs.question", "rejected_pairs.answer"),
    ),
    TableSchema(
        "caption_training_samples",
        "What the baseline trained directly on captions sees (paper 4.5.5): same images, captions as answers.",
        ("row_id",),
        (
            Column("row_id", pl.String, "Identity of the row: the image, and the caption where a row holds one"),
            Column("part", pl.String, "train or held_out, by image"),
            _IMAGE_ID,
            *_TRAINING_IMAGE,
            Column("turns", pl.List(TURN), "One turn per caption; `pair_id` holds the caption's id"),
        ),
        partition=None,
        carried_from=("spare_dataset",),
        made_from=_TRAINING_IMAGE_FROM | _each("turns", "spatial_captions.caption_id", "spatial_captions.caption"),
    ),
    TableSchema(
        "hyperparameter_trials",
        "The search of Tables 5 and 6: one row per combination tried, best held-out loss first. Off by default.",
        ("rank",),
        (
            Column("rank", pl.UInt32, "Place by held-out loss, from 1"),
            Column("recipe", pl.String, "Recipe that was varied"),
            Column("changed", pl.String, "What differs from the recipe, as JSON"),
            Column("held_out_loss", pl.Float64, "Mean cross-entropy per answer token of the held-out rows"),
            Column("training_loss", pl.Float64, "The same over the last reported steps of training"),
            Column("steps", pl.UInt64, "Optimizer steps"),
            Column("fingerprint", pl.String, "What decided the result, as a hash"),
        ),
        partition=None,
        made_from=_each("rank held_out_loss training_loss fingerprint", *_TRAINED_ON),
    ),
    TableSchema(
        "checkpoint",
        "A record for every model: trained here, as released, or behind an endpoint.",
        ("model",),
        (
            Column("model", pl.String, "Model key, the partition"),
            Column("kind", pl.String, "trained, base or endpoint"),
            Column("path", pl.String, "Absolute folder of the weights; null where they are the hub's or a server's"),
            Column("hub_id", pl.String, "Repository on the hub of the model, or of the base an adapter belongs to"),
            Column("revision", pl.String, "Commit of the repository, or the endpoint's declared revision"),
            Column(
                "adapter", pl.String, "Absolute folder of the LoRA adapter to put on the base; null where there is none"
            ),
            Column("url", pl.String, "Root of the endpoint's API"),
            Column("name", pl.String, "Model name the endpoint knows"),
            Column("recipe", pl.String, "Recipe it was trained by"),
            Column("seed", pl.Int64, "Seed it was trained with"),
            Column("min_pixels", pl.UInt32, "Image resolution it was trained at, lower bound in pixels"),
            Column("max_pixels", pl.UInt32, "Image resolution it was trained at, upper bound in pixels"),
            Column("system_prompt", pl.String, "System prompt it was trained with"),
            Column("steps", pl.UInt64, "Optimizer steps of its training"),
            Column("held_out_loss", pl.Float64, "Mean cross-entropy per answer token of the held-out rows"),
            Column("fingerprint", pl.String, "Identity of the model: weights and all that decided them"),
        ),
        partition="model",
        made_from=_each("path adapter steps held_out_loss fingerprint", *_TRAINED_ON),
    ),
    *(table for benchmark in BENCHMARKS for table in (_scores(benchmark), _predictions(benchmark))),
    TableSchema(
        "leaderboard",
        "Tables 3 and 4: models by benchmarks, with what the paper printed and what guessing scores.",
        ("place", "column"),
        (
            Column("place", pl.UInt32, "Row of the table, from 1"),
            Column("row", pl.String, "Name of the row: a model key, or a recipe where it is over seeds"),
            Column("kind", pl.String, "trained, base, endpoint, random, or reference: figures printed elsewhere"),
            Column("column", pl.String, "Benchmark column, such as `mme_perception`, or `spatial_average`"),
            Column("value", pl.Float64, "Headline score, the mean over seeds"),
            Column("deviation", pl.Float64, "Standard deviation over seeds; null for fewer than two"),
            Column("seeds", pl.UInt32, "Models behind the value"),
            Column("delta", pl.Float64, "Difference to the base model the row was trained from"),
            Column("p_value", pl.Float64, "Two-sided paired bootstrap p-value of that difference"),
            Column("clean_value", pl.Float64, "The same without questions whose images stand in the dataset"),
            Column("clean_units", pl.UInt64, "What the clean value is over; null where images were not checked"),
            Column("units", pl.UInt64, "What the value is over: questions, pairs or groups; of an average, columns"),
            Column("unparsed", pl.Float64, "Share of replies no answer could be read from"),
            Column("unanswered", pl.Float64, "Share of questions without a reply, which count as wrong"),
            Column("resolution", pl.String, "Bounds of the pictures' pixels"),
            Column("system_prompt", pl.String, "System message, where one was set"),
            Column("source", pl.String, "Where a figure that was not measured here comes from"),
        ),
        partition=None,
        made_from={
            "row": ("checkpoint.model", "checkpoint.recipe"),
            "kind": ("checkpoint.kind",),
            "seeds": ("checkpoint.seed",),
            "resolution": ("checkpoint.min_pixels", "checkpoint.max_pixels"),
            "system_prompt": ("checkpoint.system_prompt",),
        }
        | _each("value deviation delta p_value units", *_of_predictions("score"))
        | _each(
            "clean_value clean_units", *_of_predictions("score"), "contaminated_images.item", "benchmark_images.status"
        )
        | _each("unparsed unanswered", *_of_predictions("outcome")),
    ),
    TableSchema(
        "model_comparison",
        "Questions with every model's answer side by side (paper 4.5.6, 4.5.7, Figures 2 and 4).",
        ("benchmark", "item", "model"),
        (
            Column("benchmark", pl.String, "Benchmark key"),
            Column("item", pl.String, "Question within the benchmark"),
            Column("model", pl.String, "Model key"),
            Column("category", pl.String, "Category of the question"),
            Column("question", pl.String, "The question"),
            Column("options", pl.List(OPTION), "Options, by letter"),
            Column("answers", pl.List(pl.String), "What counts as right"),
            Column("images", pl.List(pl.String), "Absolute paths of its images"),
            Column("reply", pl.String, "What the model said"),
            Column("prediction", pl.String, "The answer read out of the reply"),
            Column("score", pl.Float64, "Credit, from 0 to 1"),
            Column("contrast", pl.String, "gained, lost, both right or both wrong: trained models against their base"),
        ),
        partition=None,
        carried_from=tuple(f"{benchmark}_predictions" for benchmark in BENCHMARKS),
        made_from=_each("contrast", *_of_predictions("score")),
    ),
    TableSchema(
        "review_sample",
        "Pairs drawn for people to judge, stratified by source (paper 3.4, Appendix E).",
        ("pair_id",),
        (
            _PAIR_ID,
            _CAPTION_ID,
            _SOURCE,
            Column("place", pl.UInt32, "Place on the page, from 1: by hash, sources mixed"),
            _QUESTION,
            _ANSWER,
            Column("caption", pl.String, "The caption it came from"),
            Column("image_path", pl.String, "Absolute path of the image; null where there is none"),
            Column("relations", pl.List(pl.String), "Relations of the taxonomy that question and answer name"),
            Column("weight", pl.Float64, "Units of its source that the pair stands for"),
        ),
        partition=None,
        carried_from=("spare_dataset",),
        made_from=_each("pair_id question answer relations", "spare_dataset.pairs"),
    ),
    TableSchema(
        "caption_review_sample",
        "Captions drawn for people to label as spatial or not, half from each verdict of the pre-filter (paper B.2).",
        ("caption_id",),
        (
            _CAPTION_ID,
            _SOURCE,
            Column("place", pl.UInt32, "Place on the page, from 1: by hash, verdicts mixed"),
            Column("caption", pl.String, "The caption as released"),
            Column("judged_spatial", pl.Boolean, "What the pre-filter said: the stratum. The page does not show it"),
            Column("weight", pl.Float64, "Captions with the same verdict that it stands for"),
        ),
        partition=None,
        carried_from=("captions",),
        made_from=_each("judged_spatial", "caption_verdicts.kept"),
    ),
    TableSchema(
        "review_page",
        "What the review page shows, item by item.",
        ("kind", "item"),
        (
            *_REVIEWED,
            Column("place", pl.UInt32, "Place among its kind, from 1"),
            Column("picture", pl.String, "embedded, left out (the page is full), unreadable, or none"),
            Column("width", pl.UInt32, "Pixels of the embedded picture"),
            Column("height", pl.UInt32, "Pixels of the embedded picture"),
        ),
        partition=None,
        made_from=_each("item", *_REVIEWED_ITEM)
        | _each("place", "review_sample.place", "caption_review_sample.place")
        | _each("picture width height", "review_sample.image_path"),
    ),
    TableSchema(
        "review_verdicts",
        "Every mark that a reviewer gave, as read from the verdict files (paper 3.4).",
        ("kind", "item", "reviewer"),
        (
            *_REVIEWED,
            Column("reviewer", pl.String, "Name the reviewer gave"),
            _SOURCE,
            Column(
                "verdict",
                pl.String,
                "Pairs: correct, wrong relation, wrong object, not spatial or unclear; captions: spatial, not spatial "
                "or unclear",
            ),
            Column("comment", pl.String, "The reviewer's comment; empty where there is none"),
            Column("file", pl.String, "Verdict file it came in"),
        ),
        partition=None,
        made_from=_each("item", *_REVIEWED_ITEM)
        | _each("source", "review_sample.source", "caption_review_sample.source"),
    ),
    TableSchema(
        "review_results",
        "Error and hallucination rates by people's verdicts, with Wilson intervals (paper 3.4, 3.5).",
        ("metric", "scope", "group", "reviewer"),
        (
            Column(
                "metric",
                pl.String,
                "error (anything wrong), wrong relation, wrong object, not spatial, or unclear (of all marked)",
            ),
            Column("scope", pl.String, "all, source or relation"),
            Column("group", pl.String, "Source or relation; empty for all"),
            Column("reviewer", pl.String, "One reviewer; empty for all together, each pair counted once"),
            Column("rate", pl.Float64, "Share of the judged pairs; null where none was judged"),
            Column("low", pl.Float64, "Lower end of the Wilson interval"),
            Column("high", pl.Float64, "Upper end of the Wilson interval"),
            Column("found", pl.Float64, "Pairs it was found in; where reviewers differ, the share of them who said so"),
            Column("judged", pl.UInt32, "Pairs with a verdict other than unclear; for `unclear` all marked"),
        ),
        partition=None,
        made_from=_each("group", "review_sample.source", "review_sample.relations")
        | _each("rate low high found judged", "review_sample.pair_id"),
    ),
    TableSchema(
        "review_agreement",
        "Cohen's kappa of every two reviewers, over what both marked.",
        ("kind", "reviewer", "other"),
        (
            Column("kind", pl.String, "pair or caption"),
            *_TWO_REVIEWERS,
            Column("items", pl.UInt32, "What both marked"),
            Column("agreement", pl.Float64, "Share marked alike"),
            Column("by_chance", pl.Float64, "Share expected alike from how often each gave each verdict"),
            Column("kappa", pl.Float64, "Agreement beyond chance; null where chance leaves no room"),
        ),
        partition=None,
        made_from=_each("items agreement by_chance kappa", *_REVIEWED_ITEM),
    ),
    TableSchema(
        "review_disagreements",
        "Pairs and captions that two reviewers marked differently, to talk over.",
        ("kind", "item", "reviewer", "other"),
        (
            *_REVIEWED,
            *_TWO_REVIEWERS,
            Column("verdict", pl.String, "Of the first"),
            Column("other_verdict", pl.String, "Of the second"),
            Column("comment", pl.String, "Of the first"),
            Column("other_comment", pl.String, "Of the second"),
            Column("text", pl.String, "Question and answer, or the caption"),
        ),
        partition=None,
        made_from=_each("item", *_REVIEWED_ITEM)
        | _each("text", "review_sample.question", "review_sample.answer", "caption_review_sample.caption"),
    ),
    TableSchema(
        "caption_labels",
        "Captions that people labelled as spatial or not; those marked unclear are left out (paper B.2).",
        ("caption_id", "reviewer"),
        (
            _CAPTION_ID,
            Column("reviewer", pl.String, "Name the reviewer gave"),
            Column("spatial", pl.Boolean, "Whether the caption states explicitly where something is"),
            _SOURCE,
            Column("judged_spatial", pl.Boolean, "What the pre-filter said"),
            Column("weight", pl.Float64, "Captions with the same verdict that it stands for"),
        ),
        partition=None,
        carried_from=("caption_review_sample",),
    ),
    TableSchema(
        "dataset_card",
        "The dataset as it would be published: its card, Croissant metadata and rows, file by file.",
        ("file",),
        _FILE,
        partition=None,
        made_from=_each("rows", "spare_dataset.caption_id"),
    ),
    TableSchema(
        "published_dataset",
        "What was pushed to the hub, file by file. Off by default.",
        ("file",),
        (
            Column("repository", pl.String, "Dataset repository on the hub"),
            Column("revision", pl.String, "Commit it was pushed as"),
            *_FILE,
            Column("embedded_images", pl.UInt64, "Pictures inside it; null where it holds no rows"),
        ),
        partition=None,
        made_from=_each("rows", "spare_dataset.caption_id") | _each("embedded_images", "spare_dataset.image_sha256"),
    ),
    TableSchema(
        "generation_forecast",
        "What filtering and generation will use for the whole source, from a small sample of its captions.",
        ("stage", "quantity"),
        (
            _SOURCE,
            Column("stage", pl.String, "spatial_captions, qa_pairs, or `total`: both"),
            Column(
                "quantity",
                pl.String,
                "captions, pairs, prompt_tokens, completion_tokens, tokens, cost, or hours at the speed of the sample",
            ),
            Column("unit", pl.String, "What it is counted in"),
            Column("estimate", pl.Float64, "Expected of the whole source; null for a cost without a price"),
            Column("low", pl.Float64, "Lower end of the interval"),
            Column("high", pl.Float64, "Upper end of the interval"),
            Column("sample", pl.Float64, "The same in the sample"),
        ),
        carried_from=("captions",),
        made_from=_each("estimate low high sample", "captions.caption", "captions.words"),
    ),
    TableSchema(
        "cost_report",
        "What every stage asked of models by the completion ledger, and what that comes to per kept pair.",
        ("place",),
        (
            Column("place", pl.UInt32, "Row of the report, from 1"),
            Column("stage", pl.String, "The asset that asked; `total` sums a source, or everything"),
            Column("owner", pl.String, "Source or model it worked for; `total` for all"),
            Column("engine", pl.String, "Engine asked, or the model's fingerprint where its name isn't known"),
            Column(
                "purpose", pl.String, "dataset, analyses (other engines than the stage's own, ablations), or models"
            ),
            Column("requests", pl.UInt64, "Replies in the ledger, failed ones included; of training, its steps"),
            Column("failed", pl.UInt64, "Requests that failed"),
            Column(
                "prompt_tokens",
                pl.UInt64,
                "Tokens read: of the rule-based analyst words, of training all but the answers",
            ),
            Column(
                "completion_tokens",
                pl.UInt64,
                "Tokens written: of the rule-based analyst words, of training the answers",
            ),
            Column("seconds", pl.Float64, "Time of the replies; requests in flight together count one by one"),
            Column("hours", pl.Float64, "The same as time of work: divided by the requests in flight at once"),
            Column("cost", pl.Float64, "By `analyses.prices`; null where there is no price"),
            Column("kept_pairs", pl.UInt64, "Pairs of the source that survived; null where they don't matter"),
            Column("tokens_per_kept_pair", pl.Float64, "Prompt and completion tokens per kept pair"),
            Column("seconds_per_kept_pair", pl.Float64, "Seconds per kept pair"),
            Column("cost_per_kept_pair", pl.Float64, "Cost per kept pair"),
        ),
        partition=None,
        made_from=_each(
            "kept_pairs tokens_per_kept_pair seconds_per_kept_pair cost_per_kept_pair", "spatial_pairs.pair_id"
        ),
    ),
    TableSchema(
        "generation_ablation",
        "Table 7: engines that write pairs of the same captions, beside what the paper printed.",
        ("place",),
        (
            Column("place", pl.UInt32, "Row of the table, from 1"),
            Column("engine", pl.String, "Engine, or the paper's model"),
            Column("kind", pl.String, "measured, or reference: figures printed elsewhere"),
            Column("captions", pl.UInt64, "Captions asked about"),
            Column("unusable", pl.UInt64, "Captions whose reply failed or gave no pair that can be read"),
            Column("pairs", pl.UInt64, "Pairs written"),
            Column("pairs_per_caption", pl.Float64, "Pairs per caption asked about (Table 7: QA pairs)"),
            Column("spatial_relevance", pl.Float64, "Share of judged pairs that ask about space (Table 7)"),
            Column("unjudged", pl.UInt64, "Pairs the judge gave no readable answer about"),
            Column("grounded_share", pl.Float64, "Share of pairs whose answer stands in the caption (check 3)"),
            Column("prompt_tokens", pl.UInt64, "Tokens asked, over the sample"),
            Column("completion_tokens", pl.UInt64, "Tokens replied, over the sample"),
            Column("seconds", pl.Float64, "Time of the replies; requests in flight together count as one"),
            Column("origin", pl.String, "Where a figure that was not measured here comes from"),
        ),
        partition=None,
        made_from=_each("captions", "spatial_captions.caption_id")
        | _each(
            "unusable pairs pairs_per_caption spatial_relevance unjudged grounded_share prompt_tokens "
            "completion_tokens seconds",
            "spatial_captions.caption",
        ),
    ),
    TableSchema(
        "filter_ablation",
        "Table 8: engines that judge the same labelled captions, beside what the paper printed.",
        ("place",),
        (
            Column("place", pl.UInt32, "Row of the table, from 1"),
            Column("engine", pl.String, "Engine, or the paper's model"),
            Column("kind", pl.String, "measured, or reference: figures printed elsewhere"),
            Column("labels", pl.String, "Whose truth: people, or scenes: the sandbox's own record, not people's"),
            Column("captions", pl.UInt64, "Labelled captions asked about"),
            Column("unreadable", pl.UInt64, "Of these without a readable reply; they count as judged not spatial"),
            Column("true_positives", pl.UInt64, "Spatial and judged so"),
            Column("false_positives", pl.UInt64, "Judged spatial and not so"),
            Column("false_negatives", pl.UInt64, "Spatial and not judged so"),
            Column("true_negatives", pl.UInt64, "Neither spatial nor judged so"),
            Column("accuracy", pl.Float64, "Share judged right, by the sample's weights, as the three that follow"),
            Column("precision", pl.Float64, "Of those judged spatial, the share that is; null where none was"),
            Column("recall", pl.Float64, "Of the spatial ones, the share judged so; null where there is none"),
            Column("f1", pl.Float64, "Harmonic mean of precision and recall"),
            Column("seconds", pl.Float64, "Time of the replies; requests in flight together count as one"),
            Column("relative_time", pl.Float64, "Seconds relative to the first engine's (Table 8: Compute Time)"),
            Column("origin", pl.String, "Where a figure that was not measured here comes from"),
        ),
        partition=None,
        made_from=_each("captions", "captions.caption_id", "caption_labels.caption_id")
        | _each("unreadable seconds relative_time", "captions.caption")
        | _each(
            "true_positives false_positives false_negatives true_negatives",
            "captions.caption",
            "caption_labels.spatial",
        )
        | _each("accuracy precision recall f1", "captions.caption", "caption_labels.spatial", "caption_labels.weight"),
    ),
    _frequencies(
        "caption_relations",
        "How often each spatial keyword of Table 11 occurs in the captions of a source.",
        _SOURCE,
        "source",
        "captions.caption",
        "spatial_captions.caption",
    ),
    _frequencies(
        "pair_relations",
        "How often each spatial keyword of Table 11 occurs in the generated pairs, by source and in total.",
        Column("source", pl.String, "Source key, or `total`"),
        None,
        *(f"{table}.{column}" for table in ("aligned_pairs", "spatial_pairs") for column in ("question", "answer")),
    ),
    _frequencies(
        "vqa_relations",
        "How often each spatial keyword of Table 11 occurs in other visual question answering (VQA) datasets.",
        Column("dataset", pl.String, "Key of the dataset, or `total`"),
        None,
    ),
    TableSchema(
        "vqa_composition",
        "Table 2 of the paper: questions of other datasets, and how many of them have spatial content.",
        ("place",),
        (
            Column("place", pl.UInt32, "Row of the table, from 1"),
            Column("dataset", pl.String, "Dataset key, or `total`"),
            Column("title", pl.String, "Its name"),
            Column("status", pl.String, "read, absent (its files are not there), or total: over those read"),
            Column("questions", pl.UInt64, "Questions read (Table 2: Total)"),
            Column("share", pl.Float64, "Percentage of the questions of all datasets read (Table 2: %)"),
            Column("spatial_questions", pl.UInt64, "Those with spatial content, of the ones judged"),
            Column("judged_questions", pl.UInt64, "Questions judged: all, or a sample"),
            Column("spatial_share", pl.Float64, "Percentage of the judged ones with spatial content"),
            Column("low", pl.Float64, "Lower end of its 95 % Wilson interval; null where all were judged"),
            Column("high", pl.Float64, "Upper end of its 95 % Wilson interval; null where all were judged"),
            Column("judge", pl.String, "`grammar`, or the engine that was asked"),
            Column("unreadable", pl.UInt64, "Questions that could not be read"),
            Column("paper_questions", pl.UInt64, "Table 2 as printed: Total"),
            Column("paper_share", pl.Float64, "Table 2 as printed: %"),
        ),
        partition=None,
    ),
    _export("parquet_export", "for Hugging Face `datasets`, as Parquet with an image column"),
    _export("llava_export", "as LLaVA reads it, JSON of conversations"),
    _export("llama_factory_export", "as LLaMA-Factory reads it, messages with a `dataset_info.json`"),
    _export("ms_swift_export", "as ms-swift reads it, messages with a `dataset_info.json`"),
    _export("trl_export", "as TRL trains on it, conversational prompts and completions, a row per pair"),
    _export("webdataset_export", "as WebDataset shards, tar files read from front to back"),
)

TABLES: Mapping[str, TableSchema] = {table.name: table for table in _TABLES}


def column_origins(schema: TableSchema) -> dict[str, tuple[tuple[str, str], ...]]:
    """Columns that come from other tables' columns, each with the (table, column) it is carried from or made of."""
    origins: dict[str, tuple[tuple[str, str], ...]] = {}
    for name in schema.names:
        made_from = schema.made_from.get(name)
        if made_from is not None:
            origins[name] = tuple((origin.partition(".")[0], origin.partition(".")[2]) for origin in made_from)
        elif carried := tuple((table, name) for table in schema.carried_from if name in TABLES[table].names):
            origins[name] = carried
    return origins


@dataclass(frozen=True, slots=True)
class View:
    """A view over several tables that the catalog offers beside them: SQL over the tables' own views."""

    name: str
    description: str
    query: str


VIEWS = (
    View(
        "relation_frequencies",
        "Table 11 of everything it was counted of: captions, generated pairs and VQA datasets, told apart by `kind`.",
        "SELECT 'captions' AS kind, source AS corpus, * EXCLUDE (source) FROM caption_relations "
        "UNION ALL BY NAME SELECT 'pairs' AS kind, source AS corpus, * EXCLUDE (source) FROM pair_relations "
        "UNION ALL BY NAME SELECT 'vqa' AS kind, dataset AS corpus, * EXCLUDE (dataset) FROM vqa_relations",
    ),
)
