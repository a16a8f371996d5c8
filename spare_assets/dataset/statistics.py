"""Table 1 of the paper: what each source held, and what came of it."""

from __future__ import annotations

from typing import Any

import polars as pl

from spare_assets.dataset.assembly import in_key_order
from spare_assets.settings import RESERVED_SOURCE
from spare_assets.storage.schemas import TABLES
from spare_assets.storage.tables import TableStore


def dataset_statistics(store: TableStore, sources: list[str]) -> pl.DataFrame:
    """One row per materialized source and one in total; columns as in the table `dataset_statistics`."""
    rows = [_source_row(store, source) for source in in_key_order(sources)]
    counts = ("captions", "spatial_captions", "captions_with_image", "samples", "pairs")
    total: dict[str, Any] = {name: sum(int(row[name]) for row in rows) for name in counts}
    words = sum(row["words"] for row in rows)
    total |= {"source": RESERVED_SOURCE, "words": words}
    frame = pl.DataFrame([*rows, total])
    return frame.with_columns(
        mean_words=pl.when(pl.col("captions") > 0).then(pl.col("words") / pl.col("captions"))
    ).select(TABLES["dataset_statistics"].names)


def _source_row(store: TableStore, source: str) -> dict[str, Any]:
    captions = store.scan("captions", source)
    words = captions.select(pl.col("words").sum()).collect().item()
    images = store.scan("images", source).filter(pl.col("status") == "ok")
    grounded = store.scan("grounded_pairs", source).select("caption_id").unique()
    with_image = (
        store.scan("spatial_captions", source)
        .join(grounded, on="caption_id", how="semi")
        .join(images, on="image_id", how="semi")
    )
    survivors = store.scan("spatial_pairs", source)
    return {
        "source": source,
        "captions": store.rows("captions", source),
        "spatial_captions": store.rows("spatial_captions", source),
        "captions_with_image": with_image.select(pl.len()).collect().item(),
        "samples": survivors.select(pl.col("caption_id").n_unique()).collect().item(),
        "pairs": store.rows("spatial_pairs", source),
        "words": int(words or 0),
    }
