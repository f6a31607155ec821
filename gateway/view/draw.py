"""An overview as lines of a given width and height. Pure; every line is one of the screen's."""

from __future__ import annotations

import time

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from gateway.view.overview import Overview, Progress, RouteLine
from gateway.view.readings import Rates

LEAST_WIDTH = 40
_BAD, _WARN, _DIM, _HEAD = "bold red", "yellow", "dim", "bold"
_NUMBERS = ("req/s", "fail/s", "p95 s", "tok/s")
_NUMBER = 7  # columns of one of these
_REASON = 10
_GUARD = 15
_WIDE = 96  # columns from which the tokens have room
_NARROW = 64  # and below which no number has
_TRIPS = 5
_REPLICAS = 8


def draw(seen: Overview, width: int, height: int | None = None) -> list[Text]:
    """The whole view. With `height`, of the routes as many as fit; the rest is counted."""
    width = max(width, LEAST_WIDTH)
    top = [*_header(seen), *(Text(f"! {problem}", _BAD) for problem in seen.problems), Text()]
    bottom = [*_trips(seen), *_replicas(seen)]
    room = None if height is None else max(2, height - len(top) - len(bottom) - 2)
    lines = [*top, *_routes(seen.routes, width, room), *bottom]
    for line in lines:
        line.plain = _printable(line.plain)
        line.truncate(width, overflow="ellipsis")
    return lines


def _header(seen: Overview) -> list[Text]:
    clock = time.strftime("%H:%M:%S", time.localtime(seen.at))
    return [
        Text.assemble(
            (f"gateway {seen.version}", _HEAD),
            f"  revision {seen.revision}  {seen.engine}  {clock}",
        ),
        Text(
            f"rows {_of(seen.rows)}  queue {_of(seen.queue)}  adapters {_of(seen.slots)}  "
            f"replicas {sum(one.live for one in seen.replicas)} live"
        ),
    ]


def _routes(routes: tuple[RouteLine, ...], width: int, room: int | None) -> list[Text]:
    """A heading, and a line or two for each route."""
    shown = _shown(routes, width)
    name, target = _widths(routes, width - _NUMBER * shown - _GUARD - _REASON)
    head = _columns(name, target, "workflow", "target", "reason", _NUMBERS[:shown], "guard")
    lines = [Text(head, _DIM)]
    for at, route in enumerate(routes):
        style = _WARN if route.note else ""
        told = _rates(route.rates)[:shown]
        line = Text(
            _columns(name, target, route.workflow, route.target, route.reason, told, ""), style
        )
        line.append_text(_progress(route.guard))
        notes = [note for note in (route.note, route.canary) if note]
        block = [line, *(Text(f"  {note}", _DIM) for note in notes)]
        left = len(routes) - at
        if room is not None and len(lines) + len(block) + (left > 1) > room + 1:
            lines.append(Text(f"and {left} more workflows", _DIM))
            break
        lines += block
    return lines


def _shown(routes: tuple[RouteLine, ...], width: int) -> int:
    """How many of the numbers there is room for."""
    if width < _NARROW or all(route.rates is None for route in routes):
        return 0
    return len(_NUMBERS) if width >= _WIDE else len(_NUMBERS) - 1


def _widths(routes: tuple[RouteLine, ...], room: int) -> tuple[int, int]:
    """Columns of the workflows' names and of their targets: what they need, or shares of `room`."""
    names = max((cell_len(route.workflow) for route in routes), default=0)
    targets = max((cell_len(route.target) for route in routes), default=0)
    name, target = max(names, len("workflow")) + 1, max(targets, len("target")) + 1
    if (need := name + target) > room:
        name = min(name, max(room // 3, room * name // need))
        target = min(target, room - name)
    return name, target


def _trips(seen: Overview) -> list[Text]:
    if not seen.trips:
        return []
    lines = [Text(), Text("trips", _DIM)]
    for trip in seen.trips[:_TRIPS]:
        when = time.strftime("%m-%d %H:%M:%S", time.localtime(trip.at))
        lines.append(Text.assemble(when, "  ", (f"{trip.action} {trip.workflow}", _BAD)))
        lines.append(Text(f"  {trip.target}: {trip.why}", _DIM))
    return lines


def _replicas(seen: Overview) -> list[Text]:
    """Of a fleet alone: one gateway is the header's."""
    if len(seen.replicas) < 2:
        return []
    lines = [Text(), Text("replicas", _DIM)]
    for one in seen.replicas[:_REPLICAS]:
        behind = "" if one.revision >= seen.revision else f", {seen.revision - one.revision} behind"
        waits = f", {one.pending} routes pending" if one.pending else ""
        health = "live" if one.live else f"LOST, heard of {one.seen_s:.0f} s ago"
        style = "" if one.live and not behind else _WARN
        lines.append(Text(f"{one.name}  {health}, revision {one.revision}{behind}{waits}", style))
    if (more := len(seen.replicas) - _REPLICAS) > 0:
        lines.append(Text(f"and {more} more replicas", _DIM))
    return lines


def _columns(
    name: int,
    target: int,
    workflow: str,
    goes_to: str,
    reason: str,
    numbers: tuple[str, ...],
    guard: str,
) -> str:
    words = f"{_cell(workflow, name)}{_cell(goes_to, target)}{_cell(reason, _REASON)}"
    return words + "".join(f"{number:>{_NUMBER - 1}} " for number in numbers) + guard


def _rates(rates: Rates | None) -> tuple[str, ...]:
    if rates is None:
        return ("-",) * len(_NUMBERS)
    late = rates.first_token_p95_s
    return (
        _short(rates.requests_s),
        _short(rates.failed_s),
        "-" if late is None else _short(late),
        _short(rates.tokens_s),
    )


def _progress(guard: Progress | None) -> Text:
    if guard is None:
        return Text("-", _DIM)
    said = f"{guard.share:.0%} {guard.check}"
    if guard.tripped:
        return Text(f"TRIPPED {guard.check}", _BAD)
    return Text(said, _WARN if guard.share > 0.5 else "")


def _cell(text: str, width: int) -> str:
    """`text` in exactly `width` columns, the last of them empty. Of an adapter that is too long,
    the version stays."""
    if cell_len(text) > width - 1:
        name, at, version = text.partition("@")
        tail = f"…{at}{version}"
        room = width - 1 - cell_len(tail)
        text = f"{set_cell_size(name, room)}{tail}" if room > 0 else set_cell_size(text, width - 1)
    return set_cell_size(text, width)


def _printable(text: str) -> str:
    """The same length without control characters: reasons and names come from people, and must
    not move the cursor."""
    return "".join(char if char.isprintable() else " " for char in text)


def _short(value: float) -> str:
    """A number in at most five characters."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _of(pair: tuple[int, int]) -> str:
    return f"{pair[0]}/{pair[1]}"
