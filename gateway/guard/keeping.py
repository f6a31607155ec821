"""The guard's evidence on local disk: one JSON file, by version of a route. Blocking."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from gateway.guard.panel import Panel

log = logging.getLogger("gateway.guard")

FILE_NAME = "guard.json"


class EvidenceFile:
    """The file in the folder `state`. A file that cannot be read or written is told in the log,
    and never stops the guard."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE_NAME

    def read(self) -> dict[str, Any]:
        """What was kept, by the key of the route's version."""
        try:
            found: Any = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning("%s cannot be read, evidence begins anew: %s", self._path, error)
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, evidence: dict[str, Any]) -> None:
        """Keep `evidence` in place of what was there, whole or not at all."""
        new = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new.write_text(json.dumps(evidence), encoding="utf-8")
            new.replace(self._path)
        except OSError as error:
            log.warning("evidence cannot be kept in %s: %s", self._path, error)


def restore(panel: Panel, kept: Any) -> None:
    """Go on from what was kept, unless it is of another release, or has tripped: a route that is
    live all the same was enabled by a person since."""
    try:
        panel.restore(kept)
        if not any(evidence.tripped for evidence in panel.evidence()):
            return
    except ValueError as error:
        log.warning("evidence begins anew: %s", error)
    panel.reset()
