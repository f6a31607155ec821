"""Several replicas on one real Redis: whatever the order of commands, edits, crashes, cut
connections and losses of the Redis, all come to one truth, and no disable is forgotten."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.control.plane import Command, ControlPlane
from gateway.errors import GatewayError, LogUnavailable
from gateway.log.location import RedisLocation, parse_location
from gateway.log.record import Record, event_of, verify
from gateway.log.redis import RedisLog
from gateway.registry.values import AdapterState
from gateway.routing import canary_commands
from gateway.routing.canary import Phase
from gateway.routing.effective import effective
from gateway.routing.events import API_SOURCE, RouteDisabled
from gateway.routing.fold import canary_of, fold_all
from gateway.routing.table import Target
from tests.gateway.control.ports import MemoryRegistry, RecordingEngine, adapter
from tests.gateway.control.test_any_order import Row, tables, text_of, workflows
from tests.redis_server import RedisServer

NAMES = ("one", "two", "three")
ADAPTERS = tuple(adapter(f"{name}@1") for name in "abc")
ADA = Command("ada", "because")
_TRIES = 3
_ROUNDS = 12  # of catching up, each replica in turn: enough for what each owes to reach the others


class CutLog:
    """A Redis log whose connection can be cut."""

    def __init__(self, log: RedisLog) -> None:
        self._log = log
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        if self.cut and name != "close":
            raise LogUnavailable("the connection is cut")
        return getattr(self._log, name)


class Replica:
    """One plane with its own disk. It follows only when it is told to, so that a lag is one."""

    def __init__(self, name: str, folder: Path, location: RedisLocation, file: Path) -> None:
        self.name = name
        self._folder = folder / name
        self._location = location
        self._file = file
        self.plane: ControlPlane | None = None
        self.log = CutLog(RedisLog(location))

    async def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        self.log = CutLog(RedisLog(self._location))
        self.plane = ControlPlane(
            cast(Any, self.log),
            cast(Any, MemoryRegistry(*ADAPTERS)),
            cast(Any, RecordingEngine()),
            self._file,
            replica=self.name,
            local=self._folder,
            clock=lambda: 1.0,
        )
        plane = self.plane
        plane._follower.start = lambda: None  # type: ignore[method-assign]
        await plane.start()
        await self._still()

    async def crash(self) -> None:
        """No goodbye: what its disk holds is all that is left of it."""
        plane, self.plane = self.plane, None
        if plane is None:
            return  # its start failed
        await self._still()
        if plane._history.copy is not None:
            plane._history.copy.close()
        self.log.close()
        plane._pool.shutdown()

    async def _still(self) -> None:
        """End what a plane does by itself, beside following."""
        tasks = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in tasks:
            if task.get_name() in ("watch", "beat", "look-for-lost-adapters", "check-adapters"):
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class AnyFleet(RuleBasedStateMachine):
    @initialize(table=tables)
    def begin(self, table: dict[str, Row]) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name)
        self.server = RedisServer(path / "redis").start()
        location = parse_location(self.server.url)
        assert isinstance(location, RedisLocation)
        self.log = RedisLog(location)
        self.file = path / "routes.yaml"
        self.file.write_text(text_of(table))
        self.replicas = [Replica(name, path, location, self.file) for name in NAMES]
        for replica in self.replicas:
            self.run(replica.start())
        self.disabled: set[str] = set()  # acknowledged, and nobody has tried to enable since
        self.in_log: set[str] = set()  # of those, the ones that all are to obey
        self.aborted: set[tuple[str, Target]] = set()  # in the log, and not taken back since
        self.settled: list[Record] = list(self.log.records())
        self.forked = False  # the Redis was emptied while some replica could not give back

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def attempt(self, work: Coroutine[Any, Any, Any]) -> bool:
        try:
            self.run(work)
        except GatewayError:
            return False
        return True

    def up(self) -> list[tuple[Replica, ControlPlane]]:
        return [(r, r.plane) for r in self.replicas if r.plane is not None]

    def one(self, number: int) -> ControlPlane | None:
        return self.replicas[number].plane

    def follow(self) -> None:
        """Whoever has a connection catches up, and takes in a file that had to wait."""
        for replica, plane in self.up():
            if replica.log.cut:
                continue
            for _ in range(_TRIES):  # the first may find a connection that the Redis has closed
                if self.attempt(plane._keep_up()):
                    break
            if plane._coming_up is not None:
                self.run(asyncio.wait({plane._coming_up}))

    @rule(number=st.integers(0, 2), workflow=workflows, local=st.booleans())
    def disable(self, number: int, workflow: str, local: bool) -> None:
        plane = self.one(number)
        if plane is None:
            return
        try:
            done = self.run(plane.disable(workflow, ADA, local=local))
        except GatewayError:
            return
        self.disabled.add(workflow)
        if not done.owed:
            self.in_log.add(workflow)

    @rule(number=st.integers(0, 2), workflow=workflows, promote=st.booleans(), local=st.booleans())
    def promote_or_abort(self, number: int, workflow: str, promote: bool, local: bool) -> None:
        """An abort holds where it was given, whatever the log does."""
        plane = self.one(number)
        if plane is None:
            return
        if promote:
            self.attempt(plane.amend(lambda s: canary_commands.promote(s, workflow), ADA))
            return
        known = canary_of(plane.state, workflow)
        try:
            done = self.run(plane.abort(workflow, ADA, local=local))
        except GatewayError:
            return
        if done.event is not None:
            tried = done.event.change.target
            self.aborted.add((workflow, tried))
        else:
            assert known is not None
            tried = known.canary.target
        arm = plane.table.decisions[workflow].canary_arm
        # While a new route's adapter is awaited, what was promoted before it answers on.
        assert arm is None or arm.target != tried

    @rule(number=st.integers(0, 2), workflow=workflows)
    def enable(self, number: int, workflow: str) -> None:
        plane = self.one(number)
        if plane is not None:
            self.disabled.discard(workflow)
            self.in_log.discard(workflow)
            self.attempt(plane.enable(workflow, ADA))

    @rule(number=st.integers(0, 2), workflow=workflows)
    def rollback_or_resume(self, number: int, workflow: str) -> None:
        plane = self.one(number)
        if plane is not None:
            self.aborted = {each for each in self.aborted if each[0] != workflow}
        if plane is not None and not self.attempt(plane.resume(workflow, ADA)):
            self.attempt(plane.rollback(workflow, ADA))

    @rule(number=st.integers(0, 2), table=tables, put=st.booleans())
    def edit(self, number: int, table: dict[str, Row], put: bool) -> None:
        plane = self.one(number)
        if plane is None:
            return
        text, before = text_of(table), self.file.read_text()
        tried = {name: row[2] for name, row in table.items() if row[2]}
        self.aborted = {a for a in self.aborted if tried.get(a[0], str(a[1])) == str(a[1])}
        source = API_SOURCE if put else str(self.file)
        if not put:
            self.file.write_text(text)
        if not self.attempt(plane.apply_text(text, source=source, command=ADA)):
            self.file.write_text(before)

    @rule(number=st.integers(0, 2))
    def crash_or_start(self, number: int) -> None:
        replica = self.replicas[number]
        if replica.plane is not None or not self.attempt(replica.start()):
            self.run(replica.crash())  # a start whose file was refused stays down

    @rule(number=st.integers(0, 2))
    def cut_or_mend(self, number: int) -> None:
        log = self.replicas[number].log
        log.cut = not log.cut

    @rule()
    def the_redis_loses_everything(self) -> None:
        self.server.kill()
        self.server.start()
        self.forked |= any(r.plane is None or r.log.cut for r in self.replicas)

    @rule()
    def settle(self) -> None:
        """All are there again: one truth, which goes on from the last one."""
        for replica in self.replicas:
            replica.log.cut = False
            if replica.plane is None:
                self.run(replica.start())
        for _ in range(_ROUNDS):
            self.follow()
            states = [plane.state for _, plane in self.up()]
            owed = any(plane.owed for _, plane in self.up())
            if not owed and all(state == states[0] for state in states):
                break
        records = list(self.log.records())
        assert verify(records) is None
        truth = fold_all(map(event_of, records))
        for _, plane in self.up():
            # What a task of its own does in a running gateway: load what a new table names.
            self.run(plane._adapters.try_all(plane._live.named))
            plane._live.refresh()
            assert not plane.owed
            assert plane.state == truth
            assert plane.table == effective(truth, lambda _: AdapterState.APPROVED)
        off = {w for w, hand in truth.overrides.items() if hand.disabled}
        assert self.disabled <= off
        if not self.forked:
            assert records[: len(self.settled)] == self.settled
            for workflow, target in self.aborted:
                known = truth.canaries[workflow]
                assert (known.canary.target, known.phase) == (target, Phase.ABORTED)
        self.settled, self.forked = records, False

    @invariant()
    def a_disabled_workflow_goes_nowhere_near_its_adapter(self) -> None:
        if not hasattr(self, "replicas"):
            return
        self.follow()
        for replica, plane in self.up():
            state = plane.state
            off = {w for w, hand in state.overrides.items() if hand.disabled}
            off |= {
                draft.change.workflow
                for draft in plane.owed
                if isinstance(draft.change, RouteDisabled)
            }
            off |= set() if replica.log.cut or self.forked else self.in_log
            for workflow in off & plane.table.decisions.keys():
                decision = plane.table.decisions[workflow]
                assert decision.target.is_base or decision.target != decision.route.target
            assert plane.table.revision == state.revision

    def teardown(self) -> None:
        if not hasattr(self, "replicas"):
            return
        try:
            self.settle()
        finally:
            for replica, _ in self.up():
                self.run(replica.crash())
            self.log.close()
            self.server.kill()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.folder.cleanup()


TestAnyFleet = AnyFleet.TestCase
TestAnyFleet.settings = settings(
    max_examples=8,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
