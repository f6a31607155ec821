"""The replicas that share a log: who is alive, which revision each serves, who has obeyed.

Each replica beats on its own, at once after every change. Liveness is judged by the store's
clock alone, so that no replica's clock can hide or raise another.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from gateway.errors import LogUnavailable

log = logging.getLogger(__name__)

BEAT_S = 1.0
LIVE_S = 3.5  # without a beat for so long, a replica no longer counts as live
KNOWN_S = 3600.0  # and is forgotten after this
_LOOK_S = 0.01  # between two looks while waiting for acknowledgements


@dataclass(frozen=True, slots=True)
class Waits:
    """A workflow that a replica cannot serve as routed yet."""

    target: str
    since: int  # the revision that asked for it
    error: str | None = None  # why its adapter cannot be held; None while it loads


@dataclass(frozen=True, slots=True)
class Beat:
    """What a replica says of itself."""

    replica: str
    revision: int
    inference: str  # address of its API
    admin: str
    started: float  # seconds since the epoch, by its own clock
    pending: Mapping[str, Waits] = field(default_factory=dict)  # by workflow
    instance: str = ""  # the process, which may share its name with another by mistake


@dataclass(frozen=True, slots=True)
class Seen:
    """A beat, and how long ago the store got it."""

    beat: Beat
    age_s: float

    @property
    def live(self) -> bool:
        return self.age_s <= LIVE_S


class Answer(StrEnum):
    OBEYED = "obeyed"
    PENDING = "pending"  # knows of it, and waits for the adapter
    SILENT = "silent"  # live, and has not said that it knows
    LOST = "lost"  # not live: what it serves is not known


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """How far one replica is with a revision."""

    replica: str
    answer: Answer
    revision: int
    seen_s: float  # seconds since its last beat
    note: str = ""


class Register(Protocol):
    """Where beats go. Methods block and raise LogUnavailable."""

    def beat(self, beat: Beat) -> str | None:
        """Keep the beat. Answers the instance of the one that it replaces, if there was one."""
        ...

    def seen(self) -> Sequence[Seen]:
        """Every replica heard of in the last hour, this one too, sorted by name."""
        ...

    def leave(self, replica: str) -> None:
        """Forget a replica that ends on purpose."""
        ...


class AloneRegister:
    """The register of a gateway that shares its log with nobody."""

    def __init__(self) -> None:
        self._beat: Beat | None = None

    def beat(self, beat: Beat) -> str | None:
        self._beat = beat
        return None

    def seen(self) -> Sequence[Seen]:
        return [] if self._beat is None else [Seen(self._beat, 0.0)]

    def leave(self, replica: str) -> None:
        self._beat = None


class Fleet:
    """This replica's place among the others. Used on the event loop; `call` runs in a thread."""

    def __init__(
        self,
        register: Register,
        beat: Callable[[], Beat],
        call: Callable[..., Awaitable[Any]],
    ) -> None:
        self._register = register
        self._own_beat = beat
        self._instance = uuid.uuid4().hex
        self._beaten = False
        self._suffix = ""  # of this replica's name, where another process has the same
        self._call = call
        self._changed = asyncio.Event()
        self._last: Sequence[Seen] = ()
        self.on_beat: Callable[[Sequence[Seen]], Awaitable[None]] | None = None

    @property
    def name(self) -> str:
        """Under which name the others see this replica."""
        return self._beat().replica

    def changed(self) -> None:
        """Have the next beat sent now."""
        self._changed.set()

    async def run(self) -> None:
        """Beat, for ever. A store that is away misses beats; the log's follower says so."""
        while True:
            self._changed.clear()
            try:
                with contextlib.suppress(LogUnavailable):
                    name = self.name
                    before = await self._call(self._register.beat, self._beat())
                    if self._part_from_twin(before):
                        # The other one may go on under it: its next beat finds nobody before.
                        await self._call(self._register.leave, name)
                    if self.on_beat is not None:
                        await self.on_beat(await self.seen())
            except Exception:  # a replica that no longer beats would be taken for dead
                log.exception("a beat failed; the next one follows")
            # Not wait_for: it loses a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._changed.wait()

    def _beat(self) -> Beat:
        own = self._own_beat()
        return replace(own, replica=own.replica + self._suffix, instance=self._instance)

    def _part_from_twin(self, before: str | None) -> bool:
        """Take another name where a beat replaced another process' after this one had begun: that
        one runs as well, and each would hide whether the other obeys. Whether it did."""
        twin = self._beaten and before not in (None, "", self._instance)
        self._beaten = not twin
        if twin:
            log.error(
                "another gateway runs under the name %s; this one beats as %s#%s from now on: give "
                "each replica a name of its own with --replica",
                self.name,
                self._own_beat().replica,
                self._instance[:4],
            )
            self._suffix = f"#{self._instance[:4]}"
            self.changed()
        return twin

    async def leave(self) -> None:
        """Say that this replica ends."""
        with contextlib.suppress(LogUnavailable):
            await self._call(self._register.leave, self._beat().replica)

    async def seen(self) -> Sequence[Seen]:
        """Every replica. Raises LogUnavailable."""
        found = await self._call(self._register.seen)
        self._last = found or ()
        return self._last

    @property
    def last(self) -> Sequence[Seen]:
        """Every replica as last heard of: nothing is asked of the store."""
        return self._last

    async def known(self) -> Sequence[Seen]:
        """Every replica; as last heard of while the store is away."""
        try:
            return await self.seen()
        except LogUnavailable:
            return self._last

    def alone(self, revision: int) -> list[Acknowledgement]:
        """The answers to an order that only this replica was given: the log is away."""
        mine = self._beat().replica
        others = [s.beat for s in self._last if s.beat.replica != mine]
        note = "was NOT told: the log is away"
        return [
            Acknowledgement(mine, Answer.OBEYED, revision, 0.0),
            *(Acknowledgement(b.replica, Answer.LOST, b.revision, LIVE_S, note) for b in others),
        ]

    async def acknowledged(
        self, revision: int, workflow: str | None, timeout_s: float
    ) -> list[Acknowledgement]:
        """How far each replica is with `revision`, once all live ones have it or time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        self.changed()
        while True:
            try:
                seen = await self.seen()
            except LogUnavailable:
                mine = self._beat().replica
                seen = [Seen(s.beat, LIVE_S) for s in self._last if s.beat.replica != mine]
                return judge([Seen(self._beat(), 0.0), *seen], revision, workflow)
            answers = judge(seen, revision, workflow)
            if all(a.answer is not Answer.SILENT for a in answers) or loop.time() >= deadline:
                return answers
            await asyncio.sleep(_LOOK_S)


def judge(seen: Sequence[Seen], revision: int, workflow: str | None) -> list[Acknowledgement]:
    """Each replica's answer to `revision`, as its last beat tells it."""
    return [_judge(one, revision, workflow) for one in seen]


def _judge(seen: Seen, revision: int, workflow: str | None) -> Acknowledgement:
    beat = seen.beat
    waits = beat.pending.get(workflow) if workflow is not None else None
    if not seen.live:
        answer, note = Answer.LOST, "not heard of since; it may serve an old revision"
    elif beat.revision < revision:
        answer, note = Answer.SILENT, "has not answered"
    elif waits is not None:
        answer, note = Answer.PENDING, waits.error or f"loads {waits.target}"
    else:
        answer, note = Answer.OBEYED, ""
    return Acknowledgement(beat.replica, answer, beat.revision, round(seen.age_s, 3), note)


def not_holdable(seen: Sequence[Seen]) -> dict[str, Waits]:
    """The workflows whose route no live replica can hold: all of them have tried, and failed."""
    live = [one.beat for one in seen if one.live]
    if not live:
        return {}
    found = {}
    for workflow, waits in live[0].pending.items():
        others = [beat.pending.get(workflow) for beat in live]
        if all(o is not None and o.error and o.target == waits.target for o in others):
            found[workflow] = waits
    return found
