"""The gateway's parts put together without a model, to be asked what they declare."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from gateway.control.plane import ControlPlane
from gateway.engine.base import Engine, EngineInfo, EngineStats
from gateway.log.sqlite import FILE_NAME, SqliteLog
from gateway.registry.store import Registry


@dataclass(frozen=True)
class Parts:
    """A control plane with an empty log and registry, and an engine that holds nothing."""

    plane: ControlPlane
    registry: Registry
    engine: Engine


class _Idle:
    """As much of an engine as declarations look at: what it says of itself, all zero."""

    @property
    def info(self) -> EngineInfo:
        return _empty(EngineInfo)

    def stats(self) -> EngineStats:
        return _empty(EngineStats)


_Value = TypeVar("_Value", EngineInfo, EngineStats)


def _empty(kind: type[_Value]) -> _Value:
    values: dict[str, Any] = {"int": 0, "float": 0.0, "bool": True, "str": ""}
    return kind(**{f.name: values.get(str(f.type), ()) for f in fields(kind)})


@contextmanager
def parts() -> Iterator[Parts]:
    """The parts, on a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        log, registry = SqliteLog(Path(folder) / FILE_NAME), Registry(Path(folder) / "registry")
        engine = cast(Engine, _Idle())
        try:
            yield Parts(ControlPlane(log, registry, engine, Path("routes.yaml")), registry, engine)
        finally:
            log.close()
