"""A parsed routes.yaml against the world: adapters, approval, base, engine, schemas."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.engine.base import Engine
from gateway.errors import BadInput, GatewayError, Problem, TableRejected
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routesfile.parse import Entry, RoutesFile
from gateway.routing.table import BASE_TARGET, AdapterRef, Route, Target


class AdapterSource(Protocol):
    """What is asked of the registry."""

    def find(self, ref: AdapterRef) -> AdapterArtifact | None: ...
    def refs(self) -> list[AdapterRef]: ...


StateOf = Callable[[AdapterArtifact], AdapterState]


def validate(
    file: RoutesFile,
    registry: AdapterSource,
    state_of: StateOf,
    engine: Engine | None,
    kept: Mapping[AdapterRef, Target] | None = None,
) -> tuple[Route, ...]:
    """The routes with their adapters resolved to digests. Blocks (reads adapters).

    `kept` targets were accepted before: they stay so where their adapter cannot be had any more.
    `engine` None leaves out what only an engine can tell. Raises TableRejected with all problems.
    """
    problems: list[Problem] = []
    routes: list[Route] = []

    def fault(entry: Entry, field: str, message: str) -> None:
        place = entry.places.get(field, entry.places[""])
        problems.append(
            Problem(
                message,
                f"workflows.{entry.workflow}.{field}",
                file.file,
                place.line,
                place.column,
            )
        )

    def target(entry: Entry, field: str, ref: AdapterRef | None) -> Target:
        if ref is None:
            return BASE_TARGET
        before = (kept or {}).get(ref)
        try:
            artifact = registry.find(ref)
            if artifact is None and before is not None:
                return before
            if artifact is None:
                names = [str(known) for known in registry.refs()]
                near = difflib.get_close_matches(str(ref), names, n=1, cutoff=0.4)
                hint = f"did you mean {near[0]}?" if near else "see `gateway adapters list`"
                fault(entry, field, f"adapter {ref} is not in the registry; {hint}")
                return BASE_TARGET
            state = state_of(artifact)
            if state is not AdapterState.APPROVED:
                fault(
                    entry,
                    field,
                    f"adapter {ref} is {state}, not approved; "
                    f"run `gateway adapters approve {ref}` once its evals hold",
                )
            elif engine is not None:
                engine.check_adapter(artifact)
        except GatewayError as error:
            if before is not None:
                return before
            fault(entry, field, error.message)
            return BASE_TARGET
        return Target(ref, artifact.digest)

    for entry in file.entries:
        if engine is not None and entry.response_schema is not None:
            try:
                engine.check_schema(entry.response_schema)
            except BadInput as error:
                fault(entry, "response_schema", error.message)
        routes.append(
            Route(
                workflow=entry.workflow,
                target=target(entry, "target", entry.target),
                fallback=target(entry, "fallback", entry.fallback),
                description=entry.description,
                max_tokens=entry.max_tokens,
                default_max_tokens=entry.default_max_tokens,
                temperature=entry.temperature,
                response_schema=entry.response_schema,
                guard=entry.guard,
            )
        )
    if problems:
        raise TableRejected(problems)
    return tuple(routes)
