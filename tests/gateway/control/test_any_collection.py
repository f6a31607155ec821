"""Any order of publications, verdicts, tables, hands and collections over a real log and a real
registry: what any revision names is never removed, and every rollback finds its adapter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.control.plane import Command, ControlPlane
from gateway.errors import GatewayError
from gateway.log.location import FolderLocation
from gateway.log.sqlite import FILE_NAME, SqliteLog
from gateway.log.whole import whole_history
from gateway.registry.garbage import collect
from gateway.registry.store import Registry
from gateway.registry.store_garbage import FolderGarbage
from gateway.registry.values import AdapterArtifact
from gateway.routing.events import API_SOURCE, AdapterApproved
from gateway.routing.named import named_by
from tests.gateway.control.ports import RecordingEngine
from tests.gateway.registry.backends import publish

WORKFLOWS = ("one", "two")
VERSIONS = tuple(f"a@{number}" for number in range(4))
MONTH = 30 * 86_400.0
_DIGEST = re.compile(r"[0-9a-f]{64}")

refs = st.sampled_from(VERSIONS)
workflows = st.sampled_from(WORKFLOWS)
rarely = st.sampled_from((False, False, False, True))
targets = st.one_of(st.just("base"), refs)


class AnyCollection(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.registry = Registry(self.folder / "registry")
        self.registry.root.mkdir()
        (self.folder / "routes.yaml").write_text(
            "version: 1\nworkflows:\n  one: {target: base}\n  two: {target: base}\n"
        )
        self.ever: dict[str, AdapterArtifact] = {}  # every adapter ever published, by digest
        self.turn = 0
        self.open()

    def open(self) -> None:
        self.plane = ControlPlane(
            SqliteLog(self.folder / FILE_NAME),
            Registry(self.folder / "registry"),
            cast(Any, RecordingEngine()),
            self.folder / "routes.yaml",
            clock=lambda: 1.0,
        )
        self.run(self.plane.start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def attempt(self, work: Coroutine[Any, Any, Any]) -> None:
        with contextlib.suppress(GatewayError):  # no such adapter, not approved, no way back
            self.run(work)

    @property
    def command(self) -> Command:
        return Command("ann", "because")

    @rule(ref=refs, young=rarely, tell=rarely)
    def publish(self, ref: str, young: bool, tell: bool) -> None:
        if ref in map(str, self.registry.refs()):
            return
        self.turn += 1
        made = publish(self.registry, self.folder, ref, float(self.turn))
        if young:
            later = time.time() + MONTH
            os.utime(made.path / "manifest.json", (later, later))
        self.ever[made.digest] = made
        if tell:
            self.run(self.plane.register(made, self.command))

    @rule(ref=refs, verdict=st.sampled_from(("approve", "approve", "revoke")))
    def judge(self, ref: str, verdict: str) -> None:
        parsed = next((a.ref for a in self.ever.values() if str(a.ref) == ref), None)
        if parsed is None:
            return
        if verdict == "approve":
            self.attempt(self.plane.approve(parsed, self.command, override=True))
        else:
            self.attempt(self.plane.revoke(parsed, self.command))

    @rule(one=targets, two=targets, fallback=targets, canary=st.one_of(st.none(), refs))
    def apply(self, one: str, two: str, fallback: str, canary: str | None) -> None:
        beside = "" if canary is None else f", canary: {{adapter: {canary}, steps: [5, 50]}}"
        text = (
            "version: 1\nworkflows:\n"
            f"  one: {{target: {one}, fallback: {fallback}{beside}}}\n  two: {{target: {two}}}\n"
        )
        self.attempt(self.plane.apply_text(text, source=API_SOURCE, command=self.command))

    @rule(workflow=workflows, back=st.integers(0, 6))
    def roll_back(self, workflow: str, back: int) -> None:
        to = max(1, self.plane.state.revision - back)
        self.attempt(self.plane.rollback(workflow, self.command, to_revision=to))

    @rule(workflow=workflows, what=st.sampled_from(("disable", "enable", "resume")))
    def lay_a_hand_on(self, workflow: str, what: str) -> None:
        self.attempt(getattr(self.plane, what)(workflow, self.command))

    @rule(approved=refs, registered=st.booleans())
    def collect(self, approved: str, registered: bool) -> None:
        """While it runs, somebody may approve what it has chosen: found before, appended after."""
        log, now = self.plane._history.log, time.time() + MONTH
        chosen = next((a for a in self.ever.values() if str(a.ref) == approved), None)
        found = None if chosen is None else self.registry.find(chosen.ref)

        def meanwhile() -> None:
            if found is not None and chosen is not None:
                # What an approval that had found it before it was hidden appends.
                self.attempt(self.plane._appender.commit(_approval(found), self.command))

        collect(
            FolderGarbage(Registry(self.folder / "registry")),
            lambda: named_by(whole_history(FolderLocation(self.folder))),
            now=now,
            before=now - 7 * 86_400,
            with_registered=registered,
            settle=meanwhile,
        )
        assert log.head() == self.plane.state.revision
        # What is old and was never spoken of is gone.
        text = self.said(registered)
        for artifact in Registry(self.folder / "registry").list():
            stored = (artifact.path / "manifest.json").stat().st_mtime
            spoken = artifact.digest in text or str(artifact.ref) in self.names(registered)
            assert spoken or stored > now - 7 * 86_400

    @rule()
    def restart(self) -> None:
        self.run(self.plane.close())
        self.open()

    def said(self, registered: bool) -> set[str]:
        """Every digest anywhere in the log's text; `registered`: but for mere registrations and
        revocations."""
        found: set[str] = set()
        for record in self.plane._history.log.records():
            kind = re.search(r'"kind": ?"(\w+)"', record.change)
            assert kind is not None
            if not registered or kind[1] not in ("adapter_registered", "adapter_revoked"):
                found |= set(_DIGEST.findall(record.change))
        return found

    def names(self, registered: bool) -> set[str]:
        named = named_by(whole_history(FolderLocation(self.folder)))
        keep = named.routed if registered else named.routed | named.spoken_of
        return {str(each) for each in keep}

    @precondition(lambda self: hasattr(self, "plane"))
    @invariant()
    def what_any_revision_names_is_there(self) -> None:
        registry = Registry(self.folder / "registry")
        for digest in self.said(registered=True) & self.ever.keys():
            found = registry.find(self.ever[digest].ref)
            assert found is not None
            assert found.digest == digest

    def teardown(self) -> None:
        if not hasattr(self, "plane"):
            return
        for workflow in WORKFLOWS:
            self.attempt(self.every_way_back(workflow))
        self.run(self.plane.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    async def every_way_back(self, workflow: str) -> None:
        for step in await self.plane.past_of(workflow):
            assert step.no_way_back is None or "no longer" not in step.no_way_back


def _approval(artifact: AdapterArtifact) -> Any:

    async def decide() -> AdapterApproved:
        return AdapterApproved(artifact.ref, artifact.digest, True)

    return decide


TestAnyCollection = AnyCollection.TestCase
TestAnyCollection.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
