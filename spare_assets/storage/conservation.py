"""Conservation: what goes into a stage comes out of it, counted before anything is published.

Comparing counts, with each other and with the limit on failures, belongs here. Which stage counts what, and
when it publishes, does not.
"""

from __future__ import annotations

from collections.abc import Mapping


class ConservationError(RuntimeError):
    """The rows a stage read are not the rows it is about to publish; the message holds the numbers."""


class TooManyFailedError(RuntimeError):
    """More requests failed than the settings allow; the message says what to do."""


def conserve(stage: str, *, read: int, parts: Mapping[str, int]) -> None:
    """Compare what a stage read with the parts it split that into (design, law 1).

    Raises ConservationError when the parts do not add up to `read`, or one of them is negative.
    """
    total = sum(parts.values())
    if total < read:
        difference = f"{read - total:,} lost"
    elif total > read:
        difference = f"{total - read:,} too many"
    elif min(parts.values(), default=0) < 0:
        difference = "a negative count"
    else:
        return
    written = " + ".join(f"{name} {count:,}" for name, count in parts.items()) or "nothing"
    raise ConservationError(
        f"{stage}: read {read:,}, but {written} = {total:,} ({difference}). "
        "Nothing was published; the tables of earlier runs stand."
    )


def check_failed(stage: str, read: int, failed: int, limit: float) -> None:
    """Compare the share of failed requests with its limit (design, law 4).

    Raises TooManyFailedError above `limit`, a share of `read` from 0 to 1.
    """
    if failed > limit * read:
        raise TooManyFailedError(
            f"{stage}: {failed:,} of {read:,} rows ({failed / max(read, 1):.1%}) got no answer, more than "
            f"limits.failed_request_share allows ({limit:.1%}). Nothing was published, and every answer that "
            "came is stored: materialize again to ask for the missing ones only, or raise the limit"
        )
