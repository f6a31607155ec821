"""A parsed routes.yaml against the world: adapters, approval, base, engine, schemas."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from gateway.engine.base import Engine
from gateway.errors import BadInput, GatewayError, Problem, TableRejected
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routesfile.parse import Entry, RoutesFile
from gateway.routesfile.references import ReportSource, guard_of
from gateway.routing.table import BASE_TARGET, AdapterRef, Route, Shadow, Target


class AdapterSource(ReportSource, Protocol):
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
    *,
    known: Mapping[str, tuple[Entry, Route]] | None = None,
    in_force: Mapping[str, Route] | None = None,
) -> tuple[Route, ...]:
    """The routes with their adapters resolved to digests. Blocks (reads adapters).

    `kept` targets were accepted before: they stay so where their adapter cannot be had any more.
    `engine` None leaves out what only an engine can tell. `known` entries were accepted before, by
    workflow, with their routes: their schemas are not compiled again. A route that equals the one
    `in_force` is that very object. Raises TableRejected with all problems.
    """
    problems: list[Problem] = []
    routes: list[Route] = []
    before, live = known or {}, in_force or {}
    found: dict[tuple[AdapterRef, bool], Target | str] = {}  # each adapter is looked up once

    def fault(entry: Entry, field: str, message: str) -> None:
        place = file.place(entry, field.split(".", 1)[0])
        problems.append(
            Problem(
                message,
                f"workflows.{entry.workflow}.{field}",
                file.file,
                place.line,
                place.column,
            )
        )

    def target(
        entry: Entry, field: str, ref: AdapterRef | None, *, approved: bool = True
    ) -> Target:
        if ref is None:
            return BASE_TARGET
        if (result := found.get((ref, approved))) is None:
            result = found[ref, approved] = _resolve(
                ref, registry, state_of, engine, (kept or {}).get(ref), approved=approved
            )
        if isinstance(result, Target):
            return result
        fault(entry, field, result)
        return BASE_TARGET

    for entry in file.entries:
        was, route = before.get(entry.workflow, (None, None))
        if was is not entry and engine is not None and entry.response_schema is not None:
            try:
                engine.check_schema(entry.response_schema)
            except BadInput as error:
                fault(entry, "response_schema", error.message)
        to = target(entry, "target", entry.target)
        fallback = target(entry, "fallback", entry.fallback)
        shadow: Shadow | None = None
        if (stated := entry.shadow) is not None:
            beside = target(entry, "shadow.target", stated.target, approved=False)
            shadow = Shadow(beside, stated.share, stated.store_text, stated.store_bytes)
            if stated.target == entry.target:
                fault(entry, "shadow.target", "is the workflow's own target; name another")
        named = (to, fallback, shadow)
        if (
            was is not entry
            or route is None
            or (route.target, route.fallback, route.shadow) != named
        ):
            note = partial(fault, entry)
            route = Route(
                workflow=entry.workflow,
                target=to,
                fallback=fallback,
                description=entry.description,
                max_tokens=entry.max_tokens,
                default_max_tokens=entry.default_max_tokens,
                temperature=entry.temperature,
                response_schema=entry.response_schema,
                guard=guard_of(entry, to, registry, live.get(entry.workflow), note),
                shadow=shadow,
                on_error=entry.on_error,
            )
        stands = live.get(entry.workflow)
        routes.append(stands if stands is not None and stands.same(route) else route)
    if problems:
        raise TableRejected(problems)
    return tuple(routes)


def _resolve(
    ref: AdapterRef,
    registry: AdapterSource,
    state_of: StateOf,
    engine: Engine | None,
    before: Target | None,
    *,
    approved: bool,
) -> Target | str:
    """What a route to `ref` goes to, or why none may. Not `approved`: a candidate will do."""
    try:
        artifact = registry.find(ref)
        if artifact is None and before is not None:
            return before
        if artifact is None:
            names = [str(one) for one in registry.refs()]
            near = difflib.get_close_matches(str(ref), names, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else "see `gateway adapters list`"
            return f"adapter {ref} is not in the registry; {hint}"
        state = state_of(artifact)
        if state is AdapterState.REVOKED and not approved:
            return f"adapter {ref} is revoked; name another, or take the shadow out"
        if state is not AdapterState.APPROVED and approved:
            return (
                f"adapter {ref} is {state}, not approved; "
                f"run `gateway adapters approve {ref}` once its evals hold"
            )
        if engine is not None:
            engine.check_adapter(artifact)
    except GatewayError as error:
        return error.message if before is None else before
    return Target(ref, artifact.digest)
