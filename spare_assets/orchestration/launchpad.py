"""What the Launchpad lets a person change for one run of any stage that asks a model.

What changes a stage's own results (cut-offs, limits) is declared beside the stage.
"""

from __future__ import annotations

import dagster as dg
from pydantic import Field


class BatchConfig(dg.Config):
    """How many questions go to the model at once in one run.

    What is asked stays the same, so no ledger key and no code version holds it, no more than the profile's own, and
    tables are not marked as made with an override.
    """

    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Questions put to the model together in this run, instead of the profile's: larger is faster until "
        "memory runs out. For a server it is the requests in flight at once; the rule-based analyst takes one at a "
        "time.",
    )
