"""Figures of a plan: a number with where it comes from, and what is taken where nothing was measured.

Arithmetic on figures, the paper's own figures and the assumptions, each with its source in words, belong here. Which
stage needs which figure does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Origin = Literal["measured", "counted", "settings", "forecast", "paper", "assumption"]
ORIGINS: dict[Origin, str] = {
    "measured": "from this home's tables, ledger, checkpoints and runs",
    "counted": "from the caption files",
    "settings": "as the profile says",
    "forecast": "from generation_forecast, with its interval",
    "paper": "from the paper's Table 1 and sections 3.2 and 3.3",
    "assumption": "stated below; nothing was measured",
}
"""Where figures come from, the surest first. What is made of several is no surer than the least sure of them."""
_RANK = {origin: rank for rank, origin in enumerate(ORIGINS)}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, its origin, what is to be said of it, and the bounds of a forecast."""

    value: float
    origin: Origin
    note: str = ""
    low: float | None = None
    high: float | None = None

    def bounds(self) -> tuple[float, float]:
        """Where it lies; the number itself where no interval is known."""
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)


def product(*factors: Figure | float | None) -> Figure | None:
    """The product of figures and plain numbers; None where one of them is not known."""
    return _combined(factors, math.prod)


def total(parts: Iterable[Figure | None]) -> Figure | None:
    """The sum of figures; None where there are none, or one of them is not known."""
    found = list(parts)
    return _combined(found, sum) if found else None


def known_total(parts: Iterable[Figure | None]) -> Figure | None:
    """The sum of those figures that are known."""
    return total(part for part in parts if part is not None)


def remaining(whole: Figure | None, part: float) -> Figure | None:
    """What is left of a whole, never below nothing."""
    if whole is None:
        return None
    low, high = (None if bound is None else max(bound - part, 0.0) for bound in (whole.low, whole.high))
    return Figure(max(whole.value - part, 0.0), whole.origin, whole.note, low, high)


def _combined(parts: Iterable[Figure | float | None], combine: object) -> Figure | None:
    assert callable(combine)
    figures = []
    for part in parts:
        if part is None:
            return None
        figures.append(part if isinstance(part, Figure) else Figure(float(part), "measured"))
    value = combine(figure.value for figure in figures)
    origin = max((figure.origin for figure in figures), key=_RANK.__getitem__)
    note = "; ".join(dict.fromkeys(figure.note for figure in figures if figure.note))
    if all(figure.low is None and figure.high is None for figure in figures):
        return Figure(value, origin, note)
    low, high = (combine(figure.bounds()[side] for figure in figures) for side in (0, 1))
    return Figure(value, origin, note, low, high)


@dataclass(frozen=True, slots=True)
class PaperSource:
    """A row of Table 1: captions, those in the final dataset, mean words, pairs."""

    captions: int
    samples: int
    words: int
    pairs: int


PAPER = {
    "docci": PaperSource(15_000, 10_000, 136, 108_000),
    "localized_narratives": PaperSource(849_000, 232_000, 42, 1_226_000),
    "pixmo_cap": PaperSource(717_000, 214_000, 196, 2_038_000),
}
"""Table 1 by format of the source."""
PAPER_TOTAL = PaperSource(1_581_000, 455_000, 113, 3_372_000)
_PREFILTER_KEEPS = 0.35
"""3.2.1: pre-filtering trims the datasets by about 65 %."""

_PICTURES_LEFT = Figure(1 - 50 / 264, "paper", "3.3: some 50k samples, mostly of PixMo-Cap, lost their picture")


def paper_figures(source_format: str) -> dict[str, Figure]:
    """What the paper tells of a source of this format, by stage: rows that come out per row that goes in.

    Table 1 tells the final samples alone: the share past the pre-filter is taken in proportion to them, so that over
    all it is that of 3.2.1. A caption is taken to give as many pairs before the checks as are left of it after them,
    and the checks to drop whole captions, in the last one: no table says where pairs are lost, and this asks most.
    """
    row = PAPER.get(source_format, PAPER_TOTAL)
    spatial = row.samples / row.captions * _PREFILTER_KEEPS / (PAPER_TOTAL.samples / PAPER_TOTAL.captions)
    whose = "Table 1" if source_format in PAPER else "Table 1, of all sources together"
    keep = "which check drops what is not in the paper: all pairs are taken to reach the last one"
    return {
        "spatial_captions": Figure(spatial, "paper", f"{whose}, and 3.2.1: about 35 % pass the pre-filter"),
        "qa_pairs": Figure(row.pairs / row.samples, "paper", f"{whose}: pairs of a final sample"),
        "spatial_pairs": Figure(row.samples / (row.captions * spatial), "paper", f"{whose}: final samples of those"),
        **{
            name: Figure(1.0, "paper", keep)
            for name in ("deduplicated_pairs", "reference_checked_pairs", "grounded_pairs", "aligned_pairs")
        },
        **({"image_embeddings": _PICTURES_LEFT} if source_format == "pixmo_cap" else {}),
    }


def _assumed(value: float, note: str) -> Figure:
    return Figure(value, "assumption", note)


_SCENES = "rendered scenes: shares, pairs and words as in the sandbox as it is shipped, read by its analyst"
SCENES = {
    stage: _assumed(share, _SCENES)
    for stage, share in {
        "captions": 0.992,
        "spatial_captions": 0.81,
        "qa_pairs": 10.0,
        "deduplicated_pairs": 0.99,
        "reference_checked_pairs": 0.995,
        "grounded_pairs": 0.995,
        "image_embeddings": 0.96,
        "aligned_pairs": 0.88,
        "spatial_pairs": 0.6,
    }.items()
}
"""As `paper_figures`, for a source that the renderer writes."""
SCENE_WORDS = _assumed(64, _SCENES)

_TEXT = "tables: bytes a row as in the tables of real captions read by the analyst, rounded up"
BYTES_PER_ROW = {
    "captions": _assumed(350, _TEXT),
    "spatial_captions": _assumed(370, _TEXT),
    "qa_pairs": _assumed(60, _TEXT),
    "deduplicated_pairs": _assumed(65, _TEXT),
    "reference_checked_pairs": _assumed(60, _TEXT),
    "grounded_pairs": _assumed(60, _TEXT),
    "aligned_pairs": _assumed(65, _TEXT),
    "spatial_pairs": _assumed(60, _TEXT),
    "images": _assumed(100, _TEXT),
    "rejected_pairs": _assumed(100, _TEXT),
    "spare_dataset": _assumed(500, _TEXT),
    "training_samples": _assumed(600, _TEXT),
}
"""Of all tables a stage writes, for a row that goes out of it (of a check: that goes in)."""
EMBEDDING_OVERHEAD = 32
"""Bytes of an embedding's row beside its vector: ids, packed."""
EMBEDDING_WIDTH = _assumed(512, "embeddings: 512 wide, as ViT-B/32's")
REPLY_BYTES = _assumed(80, "ledger: 80 bytes a reply beside its text, packed, of which 64 are the key's")
BYTES_PER_TOKEN = _assumed(2, "ledger: 2 bytes a token of the reply, packed")

TOKENS_PER_WORD = _assumed(1.35, "tokens: 1.35 a word of English")
CHARACTERS_PER_TOKEN = 4
PROMPT_TOKENS = "tokens: an instruction's characters by 4"
TOKENS_PER_PAIR = _assumed(45, "tokens: 45 for a pair as JSON")
PAIR_PROMPT_TOKENS = _assumed(40, "tokens: 40 for a pair to be judged")
YES_NO_TOKENS = _assumed(2, "tokens: 2 for a yes or no")
FLAG_TOKENS = _assumed(8, "tokens: 8 for a flag of a sample's pairs")
SCORE_PROMPT_TOKENS = _assumed(80, "tokens: 80 for a benchmark's question and options")
SCORE_REPLY_TOKENS = _assumed(8, "tokens: 8 for the answer to a benchmark's question")
TURN_TOKENS = _assumed(45, "tokens: 45 for a question and answer in training")
PIXELS_PER_IMAGE_TOKEN = 28 * 28
"""Qwen2-VL: patches of 14 by 14 pixels, merged two by two."""
IMAGE_PIXELS = "pictures: as large as max_pixels lets them be"
DEFAULT_MAX_PIXELS = 1_003_520

GPU = "one A100 of 80 GB"
_SHEET = "312 TFLOP/s in bfloat16 and 2.0 TB/s of memory, by NVIDIA's data sheet"
FLOPS = 312e12 * 0.3
BANDWIDTH = 2.0e12 * 0.5
COMPUTE = f"hours: on {GPU} ({_SHEET}), of which 30 % and 50 % are reached"
TRANSFORMERS_STEP_SECONDS = 0.03
DECODING = "decoding: a step of a batch reads all weights, and takes 30 ms or more in transformers"
VLLM_SEQUENCES = 128
VLLM_BATCH = "decoding: vLLM decodes 128 requests at a time"
RULE_BASED_SECONDS = {
    "judge_caption": _assumed(1.5e-3, "the analyst: 1.5 ms to judge a caption, 1.5 ms for its pairs, on one core"),
    "write_pairs": _assumed(1.5e-3, "the analyst: 1.5 ms to judge a caption, 1.5 ms for its pairs, on one core"),
    "judge_pair": _assumed(5e-5, "the analyst: 0.05 ms to judge a pair, on one core"),
    "judge_pairs": _assumed(4e-4, "the analyst: 0.4 ms to judge a sample's pairs, on one core"),
}
ROWS_PER_SECOND = {
    "captions": _assumed(10_000, "10,000 captions read a second, on one core"),
    "question_embeddings": _assumed(2_000, f"CLIP: 2,000 questions a second on {GPU}"),
    "image_embeddings": _assumed(300, f"CLIP: 300 pictures decoded and embedded a second on {GPU}"),
    "images": _assumed(100, "pictures: 100 a second, fetched or read, and decoded"),
    "checks": _assumed(25_000, "checks 1 to 4 and tables made of tables: 25,000 rows a second, on one core"),
}

MODEL_BYTES = 2
"""Of a weight in bfloat16."""
CACHE_BYTES_PER_TOKEN = 12_000
"""Keys and values of a token in bfloat16, for a billion parameters, as in Qwen2.5-3B (36 layers, 2 heads of 128)."""
MODEL_MEMORY = "GPU memory: weights, and keys and values of a batch (12 kB a token and billion parameters)"
TRAINING_MEMORY = "GPU memory in training: weights, gradients, optimizer, and half as much again for activations"
PARAMETERS = "parameters: by the model's name"
STAGE_MEMORY = _assumed(1.5e9, "memory: 1.5 GB for a process of the graph, whose tables are streamed")
SORT_MEMORY = _assumed(2e9, "memory: 2 GB more where DuckDB sorts and joins, its limit here")
SEEN_BYTES = {"localized_narratives": 200}
"""Memory of a text met while reading; narratives are met by id and by text."""
SEEN_BYTES_OF_OTHERS = 100
CLIP_MEMORY = _assumed(3e9, "memory: 3 GB for CLIP and a batch")
ASKED_BYTES = 120
"""Memory of a request that was put in a run: its key is kept, that none is put twice."""

IMAGE_BYTES = {
    "pixmo_cap": _assumed(370e9 / 717_000, "downloads: PixMo-Cap's pictures are about 370 GB together"),
}
IMAGE_BYTES_OF_OTHERS = _assumed(300_000, "downloads: 300 kB a picture")
IMAGES_PER_CAPTION = _assumed(1.0, "pictures: one for each caption that is asked for pairs")

ADAPTER_SHARE = _assumed(0.02, "adapters: 2 % of the model's parameters at rank 64, in float32")

QUESTIONS = {
    "vsr": 1_222,
    "whats_up_a": 412,
    "whats_up_b": 408,
    "threedsr_bench": 11_686,
    "realworldqa": 765,
    "mmmu": 1_050,
    "mmbench": 4_329,
    "hallusion_bench": 951,
    "textvqa": 5_000,
    "mme": 2_374,
}
"""Records of the published files, as their pages tell."""
PUBLISHED = "benchmarks: as many questions as the published files hold"
