"""What `/health/ready` says. Probes of every kind may ask; names, paths and addresses are told to
those alone who may also read `/metrics`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.api.callers import LiveKeys, bearer_token, operator_of
from gateway.control.plane import ControlPlane
from gateway.engine.base import Engine
from gateway.errors import GatewayError


def may_see_detail(keys: LiveKeys, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the sender of these headers holds an operator key, or none was ever made."""
    try:
        operator_of(keys, bearer_token(headers), required=False)
    except GatewayError:
        return False
    return True


def readiness(plane: ControlPlane, engine: Engine, *, detailed: bool) -> dict[str, Any]:
    """`ready`, and each part as `ok` or what is wrong with it; in a word where not `detailed`."""
    healthy = engine.stats().healthy
    wrong: dict[str, tuple[str, Any]] = {
        "control": ("not ready", plane.not_ready),
        "engine": ("failed", None if healthy else "failed"),
        "log": ("away", plane.log_error),
        "pending": ("waiting", {name: str(p.target) for name, p in plane.pending.items()}),
        "adapters": ("missing", {str(t): why for t, why in plane.unavailable.items()}),
        "registry": ("away", plane.registry_error),
        "routes_file": (
            "not accepted",
            None if plane.file_status.ok else [str(p) for p in plane.file_status.problems],
        ),
    }
    said = {
        part: "ok" if fault is None or fault == {} else fault if detailed else word
        for part, (word, fault) in wrong.items()
    }
    return {
        "ready": healthy and plane.not_ready is None,
        "revision": plane.table.revision,
        "stale_seconds": round(plane.stale_seconds, 1),
        **said,
    }
