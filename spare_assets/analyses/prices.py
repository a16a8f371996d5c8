"""What use comes to in time and money, by the prices of a profile.

How much was used, or will be, is not known here.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from spare_assets.settings import EngineSettings, OpenAIEngine, Price

Amount = TypeVar("Amount", float, NDArray[np.float64])


def in_flight(engine: EngineSettings | None) -> int:
    """Requests whose seconds pass at the same time: a server's, in the others they add up to the time of work."""
    return engine.concurrency if isinstance(engine, OpenAIEngine) else 1


def cost(price: Price | None, prompt_tokens: Amount, completion_tokens: Amount, hours: Amount) -> Amount | None:
    """What tokens and hours cost together; None without a price."""
    if price is None:
        return None
    by_token = prompt_tokens * price.prompt_per_million + completion_tokens * price.completion_per_million
    return by_token / 1e6 + hours * (price.per_gpu_hour * price.gpus)
