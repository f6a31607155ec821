"""`gateway audit`: the log as it is stored, from a running gateway or from the log itself.

The chain is checked here, on what was stored, and not by the gateway that is audited.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from gateway import __version__
from gateway.cli import offline
from gateway.cli.client import AdminClient
from gateway.cli.options import ADMIN_URL, STATE, AdminUrl, AsJson, State
from gateway.cli.outcomes import REFUSED, coded, fail, local_time, print_json
from gateway.errors import BadInput
from gateway.log.record import Record, event_of, from_line, to_line, verify
from gateway.log.selection import Selection, iso, moment, subject
from gateway.routing.events import Event, EventKind

app = typer.Typer(no_args_is_help=True, help="Who changed what, when, from where and why.")

_PAGE = 1000
Read = Callable[[int], list[Record]]  # a page of records after a revision; empty at the end

Offline = Annotated[
    bool, typer.Option("--offline", help="Read the log in --state, past the admin API.")
]
OfWorkflow = Annotated[
    str | None, typer.Option("--workflow", help="Only what concerns this workflow.")
]
ByActor = Annotated[
    str | None, typer.Option("--actor", help="Only what this actor did: a name, key:NAME, file.")
]
OfKind = Annotated[EventKind | None, typer.Option("--kind", help="Only events of this kind.")]
Since = Annotated[
    str | None, typer.Option(help="From this time on: 2026-11-25T14:00, or 24h, 7d ago.")
]
Until = Annotated[str | None, typer.Option(help="Before this time.")]


@app.command("list")
@coded
def list_events(
    workflow: OfWorkflow = None,
    actor: ByActor = None,
    kind: OfKind = None,
    since: Since = None,
    until: Until = None,
    beside: Offline = False,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """The events, oldest first."""
    selection = _selection(workflow, actor, kind, since, until)
    found = list(_selected(_records(_reader(beside, state, admin_url)), selection))
    if as_json:
        print_json({"events": [_plain(record) for record in found]})
        return
    for record in found:
        event = _event(record)
        print(
            f"{record.revision:>5}  {local_time(record.at)}  {event.change.kind:<18} "
            f"{subject(event):<24} {record.actor} from {record.origin or '-'}"
            f"{': ' if record.reason else ''}{record.reason}"
        )
    if not found:
        print("no event is as asked for")


@app.command()
@coded
def export(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file; without it, standard output.")
    ] = None,
    workflow: OfWorkflow = None,
    actor: ByActor = None,
    kind: OfKind = None,
    since: Since = None,
    until: Until = None,
    beside: Offline = False,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
) -> None:
    """The records as they are stored, one JSON object a line; a whole export can be verified."""
    selection = _selection(workflow, actor, kind, since, until)
    records = _selected(_records(_reader(beside, state, admin_url)), selection)
    count = 0
    with _opened(out) as file:
        for record in records:
            file.write(to_line(record) + "\n")
            count += 1
    print(f"{count} events exported", file=sys.stderr)


@app.command("verify")
@coded
def verify_chain(
    file: Annotated[
        Path | None, typer.Option("--file", help="Verify this export instead of the log.")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(help="REVISION:HASH as noted before: it must still be in the log."),
    ] = None,
    beside: Offline = False,
    state: State = STATE,
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """Check the hash chain: any edit of the past, a lost or an added event breaks it. And whether
    this version can read every event: a gateway of it would serve nothing past one that it cannot.

    The chain alone cannot tell a log that was cut short, or written anew from some point on; note
    the head that is printed in another place, and give it with --head next time.
    """
    noted = _noted(head)
    records = list(_lines(file) if file else _records(_reader(beside, state, admin_url)))
    broken = verify(records)
    if broken is None and noted is not None:
        broken = _differs(records, noted)
    unread = None if broken is not None else _unread(records)
    last = records[-1] if records else None
    unchained = sum(not record.hash for record in records)
    if as_json:
        print_json(
            {
                "ok": broken is None and unread is None,
                "events": len(records),
                "before_the_chain": unchained,
                "head": None if last is None else f"{last.revision}:{last.hash}",
                "first_bad_revision": broken,
                "first_unreadable_revision": None if unread is None else unread[0],
            }
        )
        if broken is not None or unread is not None:
            raise typer.Exit(REFUSED)
        return
    if broken is not None:
        fail(
            f"the log is not what was written: revision {broken} is edited, missing or out of "
            "place; compare it with a backup or an earlier export",
            REFUSED,
        )
    if unread is not None:
        fail(
            f"the log is as it was written, but version {__version__} cannot read revision "
            f"{unread[0]} ({unread[1]}); a gateway of this version would not serve it",
            REFUSED,
        )
    print(f"{len(records)} events, each as it was written")
    if unchained:
        print(f"(the first {unchained} are older than the chain and cannot be checked)")
    if last is not None:
        print(f"head {last.revision}:{last.hash}")


def _selection(
    workflow: str | None,
    actor: str | None,
    kind: EventKind | None,
    since: str | None,
    until: str | None,
) -> Selection:
    now = time.time()
    return Selection(
        workflow,
        actor,
        kind,
        None if since is None else moment(since, now),
        None if until is None else moment(until, now),
    )


def _selected(records: Iterable[Record], selection: Selection) -> Iterator[Record]:
    return (record for record in records if selection.takes(_event(record)))


def _unread(records: Iterable[Record]) -> tuple[int, str] | None:
    """The first revision that this version cannot read, with the reason."""
    for record in records:
        try:
            event_of(record)
        except ValueError as error:
            return record.revision, str(error)
    return None


def _event(record: Record) -> Event:
    try:
        return event_of(record)
    except ValueError as error:
        raise BadInput(
            f"revision {record.revision} cannot be read: {error}; see `gateway audit verify`"
        ) from None


def _reader(beside: bool, state: str, url: str) -> Read:
    if beside:
        return lambda after: offline.records(state, after, _PAGE)
    client = AdminClient(url)

    def page(after: int) -> list[Record]:
        data = client.call("GET", "/audit", after=after, limit=_PAGE)
        return [Record(**record) for record in data["records"]]

    return page


def _records(read: Read) -> Iterator[Record]:
    """Every record, page by page."""
    after = 0
    while page := read(after):
        yield from page
        if page[-1].revision <= after:
            return  # a broken log must not be read for ever
        after = page[-1].revision


def _lines(file: Path) -> Iterator[Record]:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield from_line(line)
                except ValueError as error:
                    raise BadInput(f"{file}:{number}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from None


def _opened(out: Path | None) -> Any:
    if out is None:
        standard: TextIO = sys.stdout
        return nullcontext(standard)
    try:
        return out.open("w", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{out} cannot be written: {error}") from None


def _noted(head: str | None) -> tuple[int, str] | None:
    if head is None:
        return None
    revision, _, digest = head.partition(":")
    if not revision.isdecimal() or not digest:
        raise BadInput(f"--head {head!r}: write REVISION:HASH, as `gateway audit verify` prints it")
    return int(revision), digest


def _differs(records: list[Record], noted: tuple[int, str]) -> int | None:
    revision, digest = noted
    if any(record.revision == revision and record.hash == digest for record in records):
        return None
    return revision


def _plain(record: Record) -> dict[str, Any]:
    event = _event(record)
    return {
        "revision": record.revision,
        "time": iso(record.at),
        "kind": event.change.kind,
        "subject": subject(event),
        "actor": record.actor,
        "origin": record.origin,
        "reason": record.reason,
        "hash": record.hash,
    }
