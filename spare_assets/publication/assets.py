"""Assets of the publication room: the dataset's card, the exports for other tools, and publication on a hub."""

import dagster as dg

from spare_assets.settings import Home

GROUP = "publication"


def build(home: Home) -> list[dg.AssetsDefinition]:
    """The assets of this room, for one profile."""
    return []
