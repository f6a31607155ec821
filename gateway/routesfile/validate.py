"""A parsed routes.yaml against the world: adapters, approval, base, engine, schemas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from gateway.engine.base import Engine
from gateway.errors import BadInput, GatewayError, Problem, TableRejected
from gateway.guard.values import CheckKind, GuardRule
from gateway.nearest import nearest
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routesfile.parse import Entry, RoutesFile
from gateway.routesfile.references import ReportSource, guard_of
from gateway.routing.table import BASE_TARGET, AdapterRef, Canary, Route, Shadow, Target


class AdapterSource(ReportSource, Protocol):
    """What is asked of the registry."""

    def find(self, ref: AdapterRef) -> AdapterArtifact | None: ...
    def refs(self) -> list[AdapterRef]: ...


ProbeFault = Callable[[str], str | None]
Fits = Callable[[AdapterArtifact], None]
StateOf = Callable[[AdapterArtifact], AdapterState]
_UNKNOWN = (None, None)


def validate(
    file: RoutesFile,
    registry: AdapterSource,
    state_of: StateOf,
    engine: Engine | None,
    kept: Mapping[AdapterRef, Target] | None = None,
    *,
    known: Mapping[str, tuple[Entry, Route]] | None = None,
    in_force: Mapping[str, Route] | None = None,
    probe_fault: ProbeFault | None = None,
    fits: Fits | None = None,
) -> tuple[Route, ...]:
    """The routes with their adapters resolved to digests. Blocks (reads adapters).

    `kept` targets were accepted before: they stay so where their adapter cannot be had any more.
    `engine` None leaves out what only an engine can tell. `known` entries were accepted before, by
    workflow, with their routes: their schemas are not compiled again. A route that equals the one
    `in_force` is that very object. `probe_fault` tells why a set of probes cannot be asked; None
    leaves that out. `fits` raises where the engine cannot hold an adapter; None asks `engine`.
    Raises TableRejected with all problems.
    """
    if fits is None and engine is not None:
        fits = engine.check_adapter
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

    def resolved(ref: AdapterRef, *, approved: bool = True) -> Target | str:
        if (result := found.get((ref, approved))) is None:
            result = found[ref, approved] = _resolve(
                ref, registry, state_of, fits, (kept or {}).get(ref), approved=approved
            )
        return result

    def target(
        entry: Entry, field: str, ref: AdapterRef | None, *, approved: bool = True
    ) -> Target:
        result = BASE_TARGET if ref is None else resolved(ref, approved=approved)
        if isinstance(result, Target):
            return result
        fault(entry, field, result)
        return BASE_TARGET

    now: dict[AdapterRef, str | None] = {}  # the digest that a reference comes to

    def still(ref: AdapterRef, before: Target) -> bool:
        """Whether a reference that came to `before` does so still."""
        if (digest := now.get(ref)) is None:
            result = resolved(ref)
            digest = now[ref] = result.digest if isinstance(result, Target) else None
        return digest is not None and digest == before.digest

    for entry in file.entries:
        was, route = before.get(entry.workflow, _UNKNOWN)
        stands = live.get(entry.workflow)
        if (
            was is entry
            and route is not None
            and entry.shadow is None
            and entry.canary is None
            and (entry.target is None or still(entry.target, route.target))
            and (entry.fallback is None or still(entry.fallback, route.fallback))
        ):
            if stands is not None and stands is not route and stands.same(route):
                route = stands
            routes.append(route)
            continue
        if was is not entry and engine is not None and entry.response_schema is not None:
            try:
                engine.check_schema(entry.response_schema)
            except BadInput as error:
                fault(entry, "response_schema", error.message)
        if was is not entry and probe_fault is not None and entry.guard is not None:
            for check in entry.guard.checks:
                if check.kind is CheckKind.PROBES and (why := probe_fault(check.set)) is not None:
                    fault(entry, "guard.checks.probes.set", why)
        to = target(entry, "target", entry.target)
        fallback = target(entry, "fallback", entry.fallback)
        shadow: Shadow | None = None
        if (stated := entry.shadow) is not None:
            beside = target(entry, "shadow.target", stated.target, approved=False)
            shadow = Shadow(beside, stated.share, stated.store_text, stated.store_bytes)
            if stated.target == entry.target:
                fault(entry, "shadow.target", "is the workflow's own target; name another")
        canary = None
        if entry.canary is not None:
            tried = target(entry, "canary.adapter", entry.canary.adapter)
            for what, other in (("target", to), ("fallback", fallback)):
                if tried == other and not tried.is_base:
                    message = f"{tried} is the {what} already; name another, or leave canary out"
                    fault(entry, "canary.adapter", message)
            canary = Canary(tried, entry.canary.plan)
        named = (to, fallback, shadow, canary)
        if (
            was is not entry
            or route is None
            or (route.target, route.fallback, route.shadow, route.canary) != named
        ):
            note = partial(fault, entry)
            guard = guard_of(entry, to, registry, stands, note)
            route = _route(entry, to, fallback, guard, shadow, canary)
        routes.append(stands if stands is not None and stands.same(route) else route)
    if problems:
        raise TableRejected(problems)
    return tuple(routes)


def accepted(file: RoutesFile, in_force: Mapping[str, Route]) -> dict[str, tuple[Entry, Route]]:
    """The entries that the routes in force were made of, with their routes: for `known`, after a
    restart that found nothing to validate. Entries that refer to a report or have a shadow are
    left out, as what they come to is not in the file."""
    found = {}
    for entry in file.entries:
        route = in_force.get(entry.workflow)
        if (
            route is not None
            and entry.shadow is None
            and entry.canary is None
            and (route.target.ref, route.fallback.ref) == (entry.target, entry.fallback)
            and route.same(_route(entry, route.target, route.fallback, entry.guard, None, None))
        ):
            found[entry.workflow] = (entry, route)
    return found


def _route(
    entry: Entry,
    target: Target,
    fallback: Target,
    guard: GuardRule | None,
    shadow: Shadow | None,
    canary: Canary | None,
) -> Route:
    return Route(
        workflow=entry.workflow,
        target=target,
        fallback=fallback,
        description=entry.description,
        max_tokens=entry.max_tokens,
        default_max_tokens=entry.default_max_tokens,
        temperature=entry.temperature,
        response_schema=entry.response_schema,
        guard=guard,
        shadow=shadow,
        on_error=entry.on_error,
        canary=canary,
    )


def _resolve(
    ref: AdapterRef,
    registry: AdapterSource,
    state_of: StateOf,
    fits: Fits | None,
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
            near = nearest(str(ref), map(str, registry.refs()), cutoff=0.4)
            hint = f"did you mean {near}?" if near else "see `gateway adapters list`"
            return f"adapter {ref} is not in the registry; {hint}"
        state = state_of(artifact)
        if state is AdapterState.REVOKED and not approved:
            return f"adapter {ref} is revoked; name another, or take the shadow out"
        if state is not AdapterState.APPROVED and approved:
            return (
                f"adapter {ref} is {state}, not approved; "
                f"run `gateway adapters approve {ref}` once its evals hold"
            )
        if fits is not None:
            fits(artifact)
    except GatewayError as error:
        return error.message if before is None else before
    return Target(ref, artifact.digest)
