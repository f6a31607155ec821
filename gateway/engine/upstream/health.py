"""Watches one server: is it well, what does it hold, and is what it should hold there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from gateway.engine.upstream.faults import ServerFault
from gateway.engine.upstream.options import Timeouts
from gateway.engine.upstream.replica import Replica
from gateway.engine.upstream.server import Server
from gateway.errors import BadInput
from gateway.registry.values import AdapterArtifact

log = logging.getLogger(__name__)

# The adapters that this server should hold at present.
Wanted = Callable[[Replica], list[AdapterArtifact]]
# Makes sure that a server runs what the others do; raises BadInput, ServerFault.
Examine = Callable[[Server], Awaitable[None]]


class HealthWatch:
    """Checks every few seconds, and at once where a request found something wrong."""

    def __init__(
        self,
        replica: Replica,
        timeouts: Timeouts,
        failed_checks: int,
        wanted: Wanted,
        examine: Examine,
    ) -> None:
        self._replica = replica
        self._timeouts = timeouts
        self._failed_checks = failed_checks
        self._wanted = wanted
        self._examine = examine
        self._examined = replica.well  # since it was last found unwell

    async def run(self) -> None:
        """Runs until it is cancelled, whatever goes wrong."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("a check of %s failed in the gateway", self._replica.name)
            # Not wait_for: it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeouts.check_every_s):
                    await self._replica.check_now.wait()
                    # One that is asked for does not come in a flood.
                    await asyncio.sleep(self._timeouts.check_every_s / 10)
            self._replica.check_now.clear()

    async def look(self) -> None:
        """One check. A server that is well is then brought to hold what it should."""
        replica, was = self._replica, self._replica.well
        try:
            await replica.server.check()
            if not self._examined:  # what was started there may be something else
                await self._examine(replica.server)
                self._examined = True
            await replica.holdings.reconcile()
        except (ServerFault, BadInput) as fault:
            replica.checked(well=False, at_most=self._failed_checks)
            if was and not replica.well:
                log.error("%s gets no more requests: %s", replica.name, fault.message)
                replica.holdings.forget()
            self._examined = self._examined and replica.well
            return
        replica.checked(well=True, at_most=self._failed_checks)
        if not was:
            log.warning("%s is well again", replica.name)
        for adapter in self._wanted(replica):
            if adapter.digest in replica.holdings:
                continue
            try:
                await replica.holdings.hold(adapter)
                log.warning("adapter %s was loaded to %s again", adapter.ref, replica.name)
            except ServerFault as fault:
                log.error("adapter %s: %s", adapter.ref, fault.message)
