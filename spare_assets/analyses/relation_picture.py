"""The picture of a few corpora's relations: concentration curves beside relation shares. Numbers come from outside."""

from __future__ import annotations

import io
from collections.abc import Mapping

from spare_assets.analyses.concentration import TOP
from spare_assets.analyses.relation_frequencies import keyword_concentration, relation_matches
from spare_assets.pages.card import FAINT, INK, PAPER, SERIES
from spare_assets.relations.matcher import KeywordCounts
from spare_assets.relations.taxonomy import TAXONOMY


def relation_picture(corpora: Mapping[str, KeywordCounts], title: str) -> bytes:
    """PNG of up to five corpora, some 80 KB; those in which nothing matched are left out."""
    # The Agg canvas alone: pyplot would look for a display and keep every figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = {name: counts for name, counts in corpora.items() if any(counts.matches.values())}
    figure = Figure(figsize=(10, 6.5), dpi=100, layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    curves, shares = figure.subplots(1, 2)
    # A corpus's name may hold what matplotlib takes for mathematics.
    labels = [name.replace("$", r"\$") for name in drawn]
    for label, colour, counts in zip(labels, SERIES, drawn.values(), strict=False):
        spread = keyword_concentration(counts)
        across, held = zip(*spread.curve(), strict=True)
        curves.plot(
            [100 * x for x in across],
            [100 * y for y in held],
            color=colour,
            label=f"{label}: {spread.entropy:.2f} bits, Gini {spread.gini:.2f}",
        )
        curves.plot(100 * TOP, 100 * spread.held_by(TOP), "o", color=colour, markersize=4)
    curves.plot([0, 100], [0, 100], color=FAINT, linewidth=0.6, linestyle=":", label="all keywords alike")
    curves.axvline(100 * TOP, color=INK, linewidth=0.6, linestyle="--")
    curves.set_xlabel("% of the keywords, most frequent first")
    curves.set_ylabel("% of all matches")
    curves.set_xlim(0, 100)
    curves.set_ylim(0, 102)
    curves.legend(loc="lower right", fontsize="small")
    thickness = 0.8 / max(len(drawn), 1)
    for place, (label, colour, counts) in enumerate(zip(labels, SERIES, drawn.values(), strict=False)):
        matches = relation_matches(counts)
        total = sum(matches.values())
        shares.barh(
            [row + (place - (len(drawn) - 1) / 2) * thickness for row in range(len(matches))],
            [100 * amount / total for amount in matches.values()],
            height=thickness,
            color=colour,
            label=label,
        )
    shares.set_yticks(range(len(TAXONOMY)), [relation.name for relation in TAXONOMY], fontsize=7)
    shares.set_ylim(len(TAXONOMY) - 0.5, -0.5)
    shares.set_xlabel("% of all matches")
    figure.suptitle(title.replace("$", r"\$"))
    stored = io.BytesIO()
    figure.savefig(stored, format="png")
    return stored.getvalue()
