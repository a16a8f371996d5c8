"""What the paper printed: the columns of its Table 3, the figures of Tables 3 and 4, and where each comes from.

Figures are quoted as printed, averages too. What was measured here does not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

AVERAGE = "spatial_average"
"""Key of the unweighted mean over the spatial columns."""

SPATIAL_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "vsr": "VSR",
        "whats_up_a": "What's Up A",
        "whats_up_b": "What's Up B",
        "threedsr_bench": "3DSRBench",
        "realworldqa": "RealWorldQA",
    }
)
"""Titles of the spatial columns by key, in the order of Table 3."""

GENERAL_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "mmmu": "MMMU",
        "mmbench": "MMBench",
        "hallusion_bench": "HallusionBench",
        "textvqa": "TextVQA",
        "mme_perception": "MME perception",
        "mme_reasoning": "MME reasoning",
        "mme_code": "MME code",
        "mme_commonsense": "MME commonsense",
        "mme_numerical": "MME numerical",
    }
)
"""Titles of the general columns by key, in the order of Table 3."""

PAPER = "SpaRE paper: its own evaluation"
SAMPLED = "SpaRE paper: its own evaluation of a sample of 100 questions (Appendix F)"
PRINTED_AVERAGE = "SpaRE paper: average as printed"
TABLE_4_SOURCE = "SpaRE paper: Table 4 as printed"

_VSR = "VSR's authors (Liu et al., 2023a), as quoted by the SpaRE paper"
_WHATS_UP = "What's Up's authors (Kamath et al., 2023), as quoted by the SpaRE paper"
_THREEDSR = "3DSRBench's authors (Ma et al., 2024), as quoted by the SpaRE paper"
_BY_AUTHORS = {"vsr": _VSR, "whats_up_a": _WHATS_UP, "whats_up_b": _WHATS_UP, "threedsr_bench": _THREEDSR}
_GPT = {"vsr": SAMPLED, "whats_up_a": SAMPLED, "whats_up_b": SAMPLED, "threedsr_bench": _THREEDSR}

_COLUMNS = (*SPATIAL_COLUMNS, AVERAGE, *GENERAL_COLUMNS)
_NONE = (None,) * len(GENERAL_COLUMNS)
_PRINTED: tuple[tuple[str, Mapping[str, str], tuple[float | None, ...]], ...] = (
    ("Random", _BY_AUTHORS, (50.0, 25.0, 25.0, 20.9, None, 30.2, *_NONE)),
    ("Human Estimate", _BY_AUTHORS, (95.4, 100.0, 100.0, 95.7, None, 99.8, *_NONE)),
    (
        "SpaRE-2B (Ours)",
        {},
        (80.8, 93.4, 95.1, 54.4, 63.5, 77.6, 40.0, 71.6, 58.2, 79.2, 1467.9, 432.4, 108.5, 110.1, 39.5),
    ),
    (
        "Qwen2VL-2B",
        {},
        (70.3, 44.6, 79.1, 46.5, 58.6, 59.8, 34.0, 72.0, 61.2, 75.0, 1490.7, 441.8, 112.5, 109.3, 42.5),
    ),
    (
        "InternVL2-2B",
        {},
        (68.7, 86.8, 84.7, 46.7, 57.4, 68.9, 34.0, 71.4, 59.3, 73.5, 1442.2, 423.6, 92.5, 108.6, 45.0),
    ),
    (
        "SpaRE-7B (Ours)",
        {},
        (85.4, 100.0, 100.0, 57.5, 68.8, 82.3, 51.0, 78.6, 56.3, 80.5, 1661.4, 642.3, 145.5, 156.3, 127.5),
    ),
    (
        "Qwen2VL-7B",
        {},
        (82.3, 99.5, 99.3, 49.2, 67.7, 79.2, 51.0, 79.9, 59.9, 81.7, 1667.3, 640.0, 152.5, 155.0, 132.5),
    ),
    (
        "InternVL2-8B",
        {},
        (73.1, 79.2, 94.4, 53.3, 64.4, 72.5, 47.4, 80.9, 64.7, 77.6, 1649.6, 572.1, 152.5, 147.1, 87.5),
    ),
    (
        "LLaVA-NeXT-8B",
        {},
        (71.9, 93.6, 95.6, 51.1, 58.2, 74.1, 46.7, 72.5, 39.0, 65.6, 1540.2, 308.6, 52.5, 118.6, 47.5),
    ),
    (
        "SpaceLLaVa",
        {},
        (65.9, 75.5, 75.6, 47.2, 48.4, 62.5, 35.3, 66.5, 43.9, 32.4, 1411.8, 295.0, 47.5, 125.0, 72.5),
    ),
    ("GPT-4o-mini", _GPT, (74.0, 75.0, 90.0, 39.1, 56.0, 66.4, *_NONE)),
    ("GPT-4o", _GPT, (79.0, 100.0, 100.0, 45.3, 61.0, 77.9, *_NONE)),
)


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """One row of the paper's Table 3: figures by column key, only those printed, and the source of each."""

    name: str
    figures: Mapping[str, float]
    sources: Mapping[str, str]


def recomputed_average(figures: Mapping[str, float]) -> float | None:
    """Unweighted mean of the spatial figures; None where there are none."""
    spatial = [figures[column] for column in SPATIAL_COLUMNS if column in figures]
    return sum(spatial) / len(spatial) if spatial else None


def _row(name: str, sources: Mapping[str, str], printed: tuple[float | None, ...]) -> ReferenceRow:
    figures = {column: figure for column, figure in zip(_COLUMNS, printed, strict=True) if figure is not None}
    named = {column: sources.get(column, PAPER) for column in figures}
    mean = recomputed_average(figures)
    named[AVERAGE] = PRINTED_AVERAGE
    # A mean of figures with one decimal is printed right when it is within half a step.
    if mean is not None and abs(mean - figures[AVERAGE]) > 0.05 + 1e-9:
        named[AVERAGE] += f"; the figures of its row average {mean:.1f}"
    return ReferenceRow(name, figures, named)


TABLE_3: tuple[ReferenceRow, ...] = tuple(_row(*printed) for printed in _PRINTED)
"""The paper's Table 3. A source of an average says so where it is not the mean of its row."""

TABLE_4: Mapping[str, float] = MappingProxyType({"SpaRE-7B": 82.3, "Qwen2VL-7B": 79.2, "Molmo-7B-D": 76.6})
"""The paper's Table 4: spatial averages of SpaRE, its base and a caption-trained model, as printed."""
