"""When an adapter was published, by two clocks."""

from __future__ import annotations

import contextlib
from datetime import datetime


def published_at(created: str, stored: float | None) -> float | None:
    """The later of what the publisher's clock said (ISO 8601; empty: nothing) and the store's, in
    seconds since the epoch: a registry that was copied is as young as the copy."""
    said = None
    with contextlib.suppress(ValueError):
        said = datetime.fromisoformat(created).timestamp() if created else None
    times = [time for time in (said, stored) if time is not None]
    return max(times, default=None)
