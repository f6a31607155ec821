"""The retry budget, as a value: retries may be a share of the requests, so that a failing fleet is
not buried under them (Google SRE, "Handling overload"; Finagle's retry budgets)."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """A bucket: each request puts `share` of a retry in, each retry takes a whole one out."""

    share: float = 0.2
    most: float = 20.0  # what the bucket holds, and starts with
    held: float = 20.0

    def requested(self) -> RetryBudget:
        """A request arrived."""
        return replace(self, held=min(self.most, self.held + self.share))

    def allows(self) -> bool:
        """Whether a retry may be made now."""
        return self.held >= 1.0

    def retried(self) -> RetryBudget:
        """A retry was made."""
        return replace(self, held=max(0.0, self.held - 1.0))
