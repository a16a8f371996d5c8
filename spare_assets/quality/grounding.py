"""Check 3: does the answer, or key phrases of it, stand in the caption? (paper 3.3)

What counts as a content word, and as the same word, belongs here. Where objects are is not known here: this check
looks for words, not for truth.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from spare_assets.quality.samples import MisalignedTablesError, sample_chunks, verdict_columns

# Articles, pronouns, forms of to be, have and do, conjunctions; prepositions that say little of a place; and what
# every caption is about. Words of place such as left, under, behind, top are content.
STOP_WORDS = frozenset(
    """
    a an the this that these those some any each every both either neither other another such
    i you he she it we they me him her us them my your his its our their whose who whom
    which what where when why how there here
    is are was were be been being am has have had having do does did done can could may might must shall should
    will would isnt arent wasnt werent dont doesnt didnt cant
    and or but nor so as than then if while because also too very just only
    of to in on at by for with from into onto upon
    no not yes
    located situated positioned
    image images picture pictures photo photos photograph photographs scene scenes
    """.split()  # noqa: SIM905 - reads better than a column of quoted words
)

# Words whose plural, spelling or digits no rule below finds.
SAME_WORDS = {
    **{
        "people": "person",
        "children": "child",
        "feet": "foot",
        "teeth": "tooth",
        "geese": "goose",
        "mice": "mouse",
    },
    **{
        "oxen": "ox",
        "cacti": "cactus",
        "lenses": "lens",
        "gases": "gas",
        "canvases": "canvas",
        "quizzes": "quiz",
    },
    **{"leaves": "leaf", "shelves": "shelf", "bookshelves": "bookshelf", "knives": "knife", "wives": "wife"},
    **{
        "loaves": "loaf",
        "halves": "half",
        "calves": "calf",
        "wolves": "wolf",
        "scarves": "scarf",
        "hooves": "hoof",
    },
    **{"skis": "ski", "taxis": "taxi", "bikinis": "bikini", "kiwis": "kiwi", "menus": "menu", "emus": "emu"},
    **{"grey": "gray", "colour": "color", "colours": "color", "coloured": "colored", "centre": "center"},
    **{"zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7"},
    **{"eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12"},
}

# Of each chunk the distinct words are looked at once: the larger it is, the fewer they are to a pair.
_CHUNK_ROWS = 32_768

# A word in the raw text; an apostrophe inside belongs to it.
_TOKEN = r"[\p{L}\p{M}\p{N}]+(?:['’][\p{L}\p{M}\p{N}]+)*"


def grounding_verdicts(pairs: pl.LazyFrame, captions: pl.LazyFrame, minimum: float) -> Iterator[pl.DataFrame]:
    """Verdicts on pairs: kept when at least a share of `minimum` of the answer's content words is in the caption.

    The score is that share, each word counted once. Words are compared whole, after Unicode compatibility
    normalization and case folding, without punctuation, and alike in singular, plural and possessive. An answer
    without content words ("Yes", "It is") is judged by those of its question; a pair without any scores 0.

    `pairs` and `captions` (caption_id, caption; of these pairs and possibly of others) are sorted by caption_id.
    Raises MisalignedTablesError when a caption is missing.
    """
    for chunk, texts in sample_chunks(pairs, captions.select("caption_id", "caption"), rows=_CHUNK_ROWS):
        samples = texts.select("caption_id", "caption", sample=pl.int_range(pl.len(), dtype=pl.UInt32))
        asked = chunk.join(
            samples.select("caption_id", "sample"), on="caption_id", how="left", maintain_order="left"
        ).with_columns(pair=pl.int_range(pl.len(), dtype=pl.UInt32))
        if asked["sample"].null_count():
            missing = asked.filter(pl.col("sample").is_null()).item(0, "caption_id")
            raise MisalignedTablesError(
                f"caption {missing!r} has pairs but no text: materialize spatial_captions and what follows again"
            )
        vocabulary = pl.Categorical(pl.Categories.random())
        stated = _content_words(samples, "caption", "sample", vocabulary)
        answers = _found(asked, "answer", stated, vocabulary)
        unanswered = asked.join(answers, on="pair", how="anti")
        questions = _found(unanswered, "question", stated, vocabulary)
        judged = asked.join(pl.concat([answers, questions]), on="pair", how="left", maintain_order="left").with_columns(
            score=(pl.col("found") / pl.col("words")).cast(pl.Float32).fill_null(0)
        )
        kept = pl.col("score") >= pl.lit(minimum, dtype=pl.Float32)
        yield judged.select(
            verdict_columns(
                kept=kept,
                score=pl.col("score"),
                threshold=minimum,
                reason=pl.when(kept)
                .then(pl.lit(""))
                .when(pl.col("words").is_null())
                .then(pl.lit("neither answer nor question has content words"))
                .otherwise(pl.format("{} of {} {} words in the caption", "found", "words", "column")),
            )
        )


def same_word() -> pl.Expr:
    """The form under which words count as the same, from the column `word`, normalized and in lower case.

    Not always a word itself: boxes and box are both box, movies and movie both movy, vases and vase both vas.
    """
    return (
        pl.col("word")
        .replace(SAME_WORDS)
        .str.replace(r"^(.+[^sui])s$", "${1}")
        .str.replace(r"ie$", "y")
        .str.replace(r"(ch|sh|[xszo])e$", "${1}")
        .str.replace(r"men$", "man")
    )


def _content_words(texts: pl.DataFrame, column: str, key: str, vocabulary: pl.Categorical) -> pl.DataFrame:
    """Content words of each text, as often as they stand there: the text's key and the word.

    Strings are looked at once, to number their pieces between spaces; numbers are all that is compared from there on.
    What words of two calls are compared by holds only while a frame of the first is there.
    """
    pieces = (
        texts.select(key, piece=pl.col(column).str.split(" "))
        .explode("piece")
        .drop_nulls()
        .with_columns(pl.col("piece").cast(pl.Categorical(pl.Categories.random())))
    )
    # The few distinct pieces are taken apart and normalized, not the many occurrences; no token holds a space.
    words = (
        pieces.select(pl.col("piece").unique())
        .with_columns(word=pl.col("piece").cast(pl.String).str.extract_all(_TOKEN))
        .explode("word")
        .drop_nulls()
        .with_columns(
            word=pl.col("word")
            .str.normalize("NFKC")
            .str.to_uppercase()
            .str.to_lowercase()
            .str.replace(r"['’]s$", "")
            .str.replace_all(r"['’]", "")
        )
        .filter(~pl.col("word").is_in(STOP_WORDS))
        .select("piece", word=same_word().cast(vocabulary))
    )
    return pieces.join(words, on="piece").select(key, "word")


def _stands(key: str) -> pl.Expr:
    """A text and a word in it as one number."""
    return pl.col(key).cast(pl.UInt64) * 2**32 + pl.col("word").to_physical()


def _found(asked: pl.DataFrame, column: str, stated: pl.DataFrame, vocabulary: pl.Categorical) -> pl.DataFrame:
    """How many content words a text of each pair has, and how many of them its caption states: one row per pair."""
    words = _content_words(asked, column, "pair", vocabulary)
    return (
        words.filter(_stands("pair").is_first_distinct())
        .join(asked.select("pair", "sample"), on="pair")
        # Before they are grouped, or every group would look through all that is stated.
        .with_columns(found=_stands("sample").is_in(stated.select(_stands("sample").implode()).to_series()))
        .group_by("pair")
        .agg(pl.col("found").sum(), words=pl.len())
        .with_columns(column=pl.lit(column))
    )
