"""Tables on their way in: a saved routes.yaml or a PUT table, validated whole, made resident, and
only then a revision. One at a time; nothing here holds up a command."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.control.adapters import KnownAdapters
from gateway.control.appending import Commit
from gateway.control.live import LiveTable
from gateway.control.values import Command, Committed, FileStatus, changes_between, digests_of
from gateway.engine.base import Engine
from gateway.errors import (
    EngineUnavailable,
    GatewayError,
    LogUnavailable,
    Problem,
    TableRejected,
)
from gateway.registry.base import AdapterRegistry
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routesfile.blocks import Blocks, parse_known
from gateway.routesfile.parse import Entry
from gateway.routesfile.validate import ProbeFault, accepted, validate
from gateway.routing import commands
from gateway.routing.events import API_SOURCE, Change, TableApplied
from gateway.routing.table import AdapterRef, Route, Target

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Source:
    """What validation asks of adapters: of this process first, then of the registry."""

    find: Callable[[AdapterRef], AdapterArtifact | None]
    refs: Callable[[], list[AdapterRef]]
    report: Callable[[AdapterRef], Mapping[str, Any] | None]


class TableIntake:
    """Owns the file's status and the adapters that are being loaded for a table to come."""

    def __init__(
        self,
        path: Path,
        registry: AdapterRegistry,
        engine: Engine,
        adapters: KnownAdapters,
        live: LiveTable,
        state_of: Callable[[AdapterArtifact], AdapterState],
        commit: Commit,
        clock: Callable[[], float],
        probe_fault: ProbeFault | None = None,
    ) -> None:
        self._source = _Source(adapters.find, registry.refs, registry.report)
        self._engine = engine
        self._adapters = adapters
        self._live = live
        self._state_of = state_of
        self._commit = commit
        self._clock = clock
        self._probe_fault = probe_fault
        self._applying = asyncio.Lock()
        # What the last accepted texts held, so that an edit costs what it changes. One thread at a
        # time uses it, under `_applying`.
        self._blocks: Blocks | None = None
        self._valid: Mapping[str, tuple[Entry, Route]] = {}
        self.coming: set[str] = set()  # adapters being made resident
        self.postponed = False  # the file is to be taken in when the log, or a server, is back
        self.status = FileStatus(path, False, (), 0.0, 0)

    async def apply(
        self,
        text: str,
        *,
        source: str,
        command: Command,
        dry_run: bool = False,
        keep: bool = False,
    ) -> Committed:
        """See `ControlPlane.apply_text`."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        kept = self._named_by_routes() if keep else {}
        is_file = source != API_SOURCE and not dry_run
        async with self._applying:
            if is_file and digest == self._live.state.file_digest:
                self._read(True, ())
                return Committed(None, self._live.state.revision, ())
            try:
                table = await asyncio.to_thread(self._validated, text, source, digest, kept)
                if dry_run:
                    preview = self._live.preview(commands.apply(self._live.state, table))
                    changes = changes_between(self._live.table, preview.table)
                    return Committed(None, self._live.state.revision, changes)
                done = await self._make_revision(table, command, {t.digest for t in kept.values()})
            except GatewayError as error:
                if is_file:
                    problems = (
                        error.problems
                        if isinstance(error, TableRejected)
                        else (Problem(error.message, "", source),)
                    )
                    self._read(False, problems)
                raise
        if is_file:
            self._read(True, ())
        return done

    async def take_file(self, *, keep: bool = False) -> None:
        """Read routes.yaml and apply it if it was edited. Raises as `apply`."""
        text = await asyncio.to_thread(self._text)
        source = str(self.status.path)
        await self.apply(text, source=source, command=Command("file"), keep=keep)

    async def learn(self) -> None:
        """Read the file's blocks ahead: its first edit after a start is to cost as little as the
        others. Whatever is wrong with the file is said when it is taken in."""
        path = self.status.path
        async with self._applying:
            if self._blocks is not None:
                return
            with contextlib.suppress(OSError, UnicodeDecodeError, GatewayError):
                text = await asyncio.to_thread(path.read_text, encoding="utf-8")
                routes = self._live.state.routes
                self._blocks, self._valid = await asyncio.to_thread(
                    _learnt, text, str(path), routes
                )

    async def reload(self) -> None:
        """The same for a file that changed while the gateway runs: what goes wrong is logged and
        shown in `status`, and the last good table stays."""
        self._adapters.look.set()
        again, self.postponed = self.postponed, False
        try:
            await self.take_file()
        except TableRejected as error:
            log.error("routes.yaml was not accepted, the last good table stays:\n%s", error)
        except (LogUnavailable, EngineUnavailable) as error:
            if not again:  # it is tried every second or so
                log.error("routes.yaml is not taken in yet: %s", error)
            self.postpone(error)
        except GatewayError as error:
            log.error("routes.yaml could not be applied: %s", error)
        except Exception as error:  # the watch must outlive whatever a file can hold
            log.exception("routes.yaml could not be applied")
            source = str(self.status.path)
            self._read(False, (Problem(f"could not be applied: {error!r}", "", source),))

    def postpone(self, why: LogUnavailable | EngineUnavailable) -> None:
        """Note that the file could not be taken in, as the log or every server of the model is
        away. It is asked for again."""
        self.postponed = True
        what = "the log" if isinstance(why, LogUnavailable) else "a server of the model"
        problem = Problem(f"is taken in when {what} is back", "", str(self.status.path))
        self._read(False, (problem,))

    async def _make_revision(
        self, table: TableApplied, command: Command, kept: Collection[str | None]
    ) -> Committed:
        async def decide() -> Change | None:
            # An edit to what came over the API already is an event all the same: the log has
            # to know that the file was taken, or a restart would take it again.
            state = self._live.state
            known = state.table_digest if table.source == API_SOURCE else state.file_digest
            return None if table.digest == known else commands.apply(state, table)

        preview = self._live.preview(commands.apply(self._live.state, table))
        live = {t.digest for t in self._live.named if self._adapters.lost(t) is None}
        wanted = (digests_of(preview.uses) & self._adapters.artifacts.keys()) - live
        try:
            self.coming = wanted - set(kept)
            self._engine.set_pinned(digests_of(self._live.named) | self.coming)
            await self._adapters.load_ahead(self.coming)
            return await self._commit(decide, command)
        finally:
            self.coming = set()
            self._engine.set_pinned(digests_of(self._live.named))

    def _text(self) -> str:
        path = self.status.path
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = Problem(f"cannot be read: {error}", "", str(path))
            self._read(False, (problem,))
            raise TableRejected([problem]) from None

    def _read(self, ok: bool, problems: tuple[Problem, ...]) -> None:
        revision = self._live.state.revision if ok else self.status.applied_revision
        self.status = FileStatus(self.status.path, ok, problems, self._clock(), revision)

    def _named_by_routes(self) -> dict[AdapterRef, Target]:
        routes = self._live.state.routes.values()
        targets = [target for route in routes for target in route.targets]
        targets += [route.shadow.target for route in routes if route.shadow is not None]
        return {target.ref: target for target in targets if target.ref is not None}

    def _validated(
        self, text: str, source: str, digest: str, kept: Mapping[AdapterRef, Target]
    ) -> TableApplied:
        """Blocks; runs in a thread."""
        self._adapters.read()
        file, self._blocks = parse_known(text, source, self._blocks)
        routes = validate(
            file,
            self._source,
            self._state_of,
            self._engine,
            kept,
            known=self._valid,
            in_force=self._live.state.routes,
            probe_fault=self._probe_fault,
            fits=self._adapters.check,
        )
        pairs = zip(file.entries, routes, strict=True)
        self._valid = {pair[0].workflow: pair for pair in pairs}
        return TableApplied(routes, source, digest)


def _learnt(
    text: str, source: str, in_force: Mapping[str, Route]
) -> tuple[Blocks | None, Mapping[str, tuple[Entry, Route]]]:
    """A file's blocks, and those of its entries that are in force."""
    file, blocks = parse_known(text, source, None)
    return blocks, accepted(file, in_force)
