"""Whatever the order of commands, edits, other writers and crashes, the promises hold."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.control.plane import Command, ControlPlane
from gateway.errors import GatewayError
from gateway.log.sqlite import SqliteLog
from gateway.registry.values import AdapterState
from gateway.routing import canary_commands
from gateway.routing.effective import effective
from gateway.routing.events import API_SOURCE, Draft, RouteDisabled
from gateway.routing.fold import fold_all
from gateway.routing.table import AdapterRef, Reason
from tests.gateway.control.ports import MemoryRegistry, RecordingEngine, adapter

WORKFLOWS = ("one", "two")
ADAPTERS = tuple(adapter(f"{name}@1") for name in "abc")
targets = st.sampled_from(["base", "a@1", "b@1", "c@1"])
workflows = st.sampled_from(WORKFLOWS)
refs = st.sampled_from([a.ref for a in ADAPTERS])
Row = tuple[str, str, str]  # target, fallback, canary
rows = st.tuples(targets, targets, st.sampled_from(["", "a@1", "b@1", "c@1"])).filter(
    lambda row: row[2] not in row[:2]
)
tables = st.dictionaries(workflows, rows, min_size=1)
ADA = Command("ada", "because")


def text_of(table: dict[str, Row]) -> str:
    lines = []
    for name, (target, fallback, tried) in table.items():
        canary = f", canary: {{adapter: {tried}, steps: [5, 50]}}" if tried else ""
        lines.append(f"  {name}: {{target: {target}, fallback: {fallback}{canary}}}\n")
    return "version: 1\nworkflows:\n" + "".join(lines)


class AnyOrder(RuleBasedStateMachine):
    @initialize(table=tables)
    def begin(self, table: dict[str, Row]) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.disabled: set[str] = set()
        self.pinned: set[str] = set()
        self.seen = 0
        self.file = self.path / "routes.yaml"
        self.file.write_text(text_of(table))
        self.other = SqliteLog(self.path / "log")
        self.open()

    def open(self) -> None:
        self.engine = RecordingEngine()
        self.plane = ControlPlane(
            SqliteLog(self.path / "log"),
            cast(Any, MemoryRegistry(*ADAPTERS)),
            cast(Any, self.engine),
            self.file,
            clock=lambda: 1.0,
        )
        self.run(self.plane.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def attempt(self, work: Coroutine[Any, Any, Any]) -> bool:
        try:
            self.run(work)
        except GatewayError:
            return False
        return True

    @rule(workflow=workflows)
    def disable(self, workflow: str) -> None:
        if self.attempt(self.plane.disable(workflow, ADA)):
            self.disabled.add(workflow)

    @rule(workflow=workflows)
    def enable(self, workflow: str) -> None:
        if self.attempt(self.plane.enable(workflow, ADA)):
            self.disabled.discard(workflow)

    @rule(workflow=workflows, to_revision=st.none() | st.integers(1, 12))
    def rollback(self, workflow: str, to_revision: int | None) -> None:
        if self.attempt(self.plane.rollback(workflow, ADA, to_revision=to_revision)):
            self.pinned.add(workflow)

    @rule(workflow=workflows)
    def resume(self, workflow: str) -> None:
        self.attempt(self.plane.resume(workflow, ADA))  # of a pin, or else of a canary
        self.pinned.discard(workflow)

    @rule(workflow=workflows, whole=st.booleans())
    def promote(self, workflow: str, whole: bool) -> None:
        self.attempt(
            self.plane.amend(lambda s: canary_commands.promote(s, workflow, whole=whole), ADA)
        )

    @rule(workflow=workflows)
    def abort(self, workflow: str) -> None:
        if self.attempt(self.plane.abort(workflow, ADA)):
            arm = self.plane.table.decisions[workflow].canary_arm
            assert arm is None

    @rule(ref=refs, approve=st.booleans())
    def judge(self, ref: AdapterRef, approve: bool) -> None:
        self.attempt((self.plane.approve if approve else self.plane.revoke)(ref, ADA))

    @rule(table=tables)
    def edit(self, table: dict[str, Row]) -> None:
        before = self.file.read_text()
        self.file.write_text(text_of(table))
        if not self.attempt(
            self.plane.apply_text(text_of(table), source=str(self.file), command=Command("file"))
        ):
            self.file.write_text(before)

    @rule(table=tables)
    def put(self, table: dict[str, Row]) -> None:
        self.attempt(self.plane.apply_text(text_of(table), source=API_SOURCE, command=ADA))

    @rule(text=st.sampled_from(["", "version: 1", "version: 1\nworkflows: {one: {target: z@1}}"]))
    def bad_edit(self, text: str) -> None:
        before = self.plane.table
        assert not self.attempt(
            self.plane.apply_text(text, source=str(self.file), command=Command("file"))
        )
        assert self.plane.table.decisions.keys() == before.decisions.keys()

    @rule(workflow=workflows)
    def another_process_disables(self, workflow: str) -> None:
        self.other.append(
            Draft(RouteDisabled(workflow), "cli", "", 1.0), expected=self.other.head()
        )
        self.disabled.add(workflow)

    @rule()
    def crash(self) -> None:
        # No goodbye: the tasks vanish, and the next plane has the log and the file alone.
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        with contextlib.suppress(GatewayError):
            self.run(self.plane.close())
        held = self.plane.state
        self.open()
        assert self.plane.state.routes == held.routes  # the file was not edited

    @invariant()
    def promises_hold(self) -> None:
        if not hasattr(self, "plane"):
            return
        self.run(self.plane._keep_up())
        events = list(self.other.read())
        assert [e.revision for e in events] == list(range(1, len(events) + 1))
        assert len(events) >= self.seen
        self.seen = len(events)
        state = fold_all(events)
        assert state == self.plane.state
        assert self.plane.table == effective(state, lambda _: AdapterState.APPROVED)
        assert {w for w, o in state.overrides.items() if o.disabled} == self.disabled
        assert {w for w, o in state.overrides.items() if o.pinned} == self.pinned
        wanted = {t.digest for d in self.plane.table.decisions.values() for t in d.route.targets}
        assert wanted - {None} <= self.engine.pinned
        for workflow in self.disabled & self.plane.table.decisions.keys():
            decision = self.plane.table.decisions[workflow]
            assert decision.reason is Reason.DISABLED
            assert decision.target.is_base or decision.target != decision.route.target

    def teardown(self) -> None:
        if hasattr(self, "plane"):
            self.run(self.plane.close())
            self.other.close()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.folder.cleanup()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
