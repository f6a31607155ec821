"""Which of the outcomes that `gateway_requests_total` counts are failures of what serves.

Stated once, by what is none: a new kind of error counts before anybody has listed it. The recording
rule in deploy/prometheus says the same, and a test compares them.
"""

from __future__ import annotations

# An answer, or a client that left.
_ENDS_WELL = frozenset({"ok", "cancelled"})
# What a client sent wrong.
_CLIENTS_OWN = frozenset(
    {
        "invalid_value",
        "context_length_exceeded",
        "unsupported_parameter",
        "model_not_found",
        "not_found",
    }
)
NO_FAILURES = _ENDS_WELL | _CLIENTS_OWN


def is_failure(outcome: str) -> bool:
    """Whether a request that ended so failed by no fault of its client."""
    return outcome not in NO_FAILURES
