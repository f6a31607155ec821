"""What operators and approvers order, each as one event on the state in force.

Nothing here touches the table: an event that the log has is folded, and the table follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gateway.access import two_persons
from gateway.control import approval
from gateway.control.adapters import KnownAdapters
from gateway.control.appending import Appender
from gateway.control.history import History
from gateway.control.live import LiveTable
from gateway.control.values import Command, Committed, changes_between
from gateway.engine.base import Engine
from gateway.errors import LogUnavailable, NotAllowed
from gateway.registry.base import AdapterRegistry
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routing import canary_commands, commands
from gateway.routing.events import (
    AdapterRegistered,
    AdapterRevoked,
    CanaryAborted,
    Change,
    Event,
    InFlight,
    RouteDisabled,
    RoutePinned,
)
from gateway.routing.fold import RoutingState, adapter_state
from gateway.routing.table import AdapterRef


class Operations:
    """The commands of one replica. All methods are for its event loop."""

    def __init__(
        self,
        appender: Appender,
        history: History,
        live: LiveTable,
        adapters: KnownAdapters,
        registry: AdapterRegistry,
        engine: Engine,
        *,
        two_person: bool,
    ) -> None:
        """`two_person`: nobody approves the adapter that they registered."""
        self._appender = appender
        self._history = history
        self._live = live
        self._adapters = adapters
        self._registry = registry
        self._engine = engine
        self._two_person = two_person

    async def disable(
        self,
        workflow: str,
        command: Command,
        *,
        in_flight: InFlight = "finish",
        local: bool = False,
    ) -> Committed:
        """Send `workflow` to its fallback until it is enabled. Never waits for the engine.

        `local`: where the log is away, obey it here alone, and append it when the log is back.
        """
        return await self._take_off(
            lambda state: commands.disable(state, workflow, in_flight), command, local
        )

    async def abort(
        self,
        workflow: str,
        command: Command,
        *,
        in_flight: InFlight = "finish",
        local: bool = False,
    ) -> Committed:
        """Take every request from `workflow`'s canary. Never waits for the engine; `local` as of
        a disable."""
        return await self._take_off(
            lambda state: canary_commands.abort(state, workflow, in_flight), command, local
        )

    async def enable(self, workflow: str, command: Command) -> Committed:
        """Lift a disable."""
        return await self.amend(lambda state: commands.enable(state, workflow), command)

    async def resume(self, workflow: str, command: Command) -> Committed:
        """Lift a rollback's pin, or begin an aborted canary again. Waits for the engine only where
        the file's route has an adapter that is not here yet."""
        route = self._live.state.routes.get(workflow)
        if route is not None:
            await self._adapters.try_all({t for t in route.targets if self._adapters.lost(t)})
        return await self.amend(lambda state: commands.resume(state, workflow), command)

    async def amend(
        self, decide_on: Callable[[RoutingState], Change], command: Command
    ) -> Committed:
        """Append the change that `decide_on` makes of the state then in force; for what no engine
        and no registry has a say in, as keys. Raises what `decide_on` raises."""

        async def decide() -> Change:
            return decide_on(self._live.state)

        return await self._appender.commit(decide, command)

    async def rollback(
        self,
        workflow: str,
        command: Command,
        *,
        to_revision: int | None = None,
        in_flight: InFlight = "finish",
    ) -> Committed:
        """Pin `workflow` to its route at an earlier revision (the newest different one).

        Waits for the engine only where the route's adapter is in no slot any more.
        """

        events: Sequence[Event] = ()

        async def decide() -> RoutePinned:
            nonlocal events
            events = await self._history.events(events)
            published = self._adapters.published
            pin = commands.rollback(events, workflow, to_revision, in_flight, published)
            digest = pin.route.target.digest
            if digest is not None and digest not in self._adapters.artifacts:
                raise NotAllowed(
                    f"{pin.route.target} is no longer in the registry; {workflow} cannot go back "
                    "to it (choose another revision with --to, or disable the workflow)"
                )
            return pin

        # Looked at once outside the lock, so that neither a load nor a long history holds a
        # disable up.
        digest = (await decide()).route.target.digest
        if digest is not None and digest not in self._engine.stats().resident_adapters:
            await self._adapters.load(digest)
        return await self._appender.commit(decide, command)

    async def register(self, artifact: AdapterArtifact, command: Command) -> Committed:
        """Record who brought an adapter in. Who brings it again is not recorded."""

        async def decide() -> Change | None:
            if artifact.digest in self._live.state.registered:
                return None
            return AdapterRegistered(artifact.ref, artifact.digest)

        return await self._appender.commit(decide, command)

    async def approve(
        self, ref: AdapterRef, command: Command, *, override: bool = False
    ) -> Committed:
        """Let routes name the adapter. Raises what `approval.approved` raises."""
        return await self._judge(ref, command, AdapterState.APPROVED, override=override)

    async def revoke(self, ref: AdapterRef, command: Command) -> Committed:
        """Take the adapter out of service: its routes go to their fallback at once."""
        return await self._judge(ref, command, AdapterState.REVOKED)

    def adapter_state(self, artifact: AdapterArtifact) -> AdapterState:
        """The state in force: the log's verdict, else what was published."""
        return adapter_state(self._live.state, artifact.digest, artifact.state) or artifact.state

    async def _take_off(
        self,
        decide_on: Callable[[RoutingState], RouteDisabled | CanaryAborted],
        command: Command,
        local: bool,
    ) -> Committed:
        try:
            return await self.amend(decide_on, command)
        except LogUnavailable as error:
            if not local:
                raise LogUnavailable(
                    f"{error.message}. With --local the gateway that you ask obeys alone until the "
                    "log is back"
                ) from None
        before = self._live.table
        draft = self._appender.draft(decide_on(self._live.state), command)
        kept = await self._history.order_locally(draft)
        changes = changes_between(before, self._live.table)
        return Committed(None, self._live.state.revision, changes, owed=True, kept=kept)

    async def _judge(
        self, ref: AdapterRef, command: Command, verdict: AdapterState, *, override: bool = False
    ) -> Committed:
        # What is to be taken out of service need not be readable any more.
        known = next((a for a in self._adapters.artifacts.values() if a.ref == ref), None)
        if known is None or verdict is AdapterState.APPROVED:
            known = await asyncio.to_thread(self._registry.get, ref)
            await asyncio.to_thread(self._adapters.read)
        artifact = known
        if verdict is AdapterState.APPROVED:
            await asyncio.to_thread(self._engine.check_adapter, artifact)

        async def decide() -> Change:
            if self.adapter_state(artifact) is verdict:
                raise NotAllowed(f"{ref} is {verdict} already")
            if verdict is AdapterState.APPROVED:
                if self._two_person:
                    two_persons.check(self._live.state, ref, artifact.digest, command.actor)
                return approval.approved(artifact, override=override, reason=command.reason)
            return AdapterRevoked(ref, artifact.digest)

        return await self._appender.commit(decide, command)
