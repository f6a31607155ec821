"""`gateway adapters verify` and `gc`: the registry itself, without a gateway."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import reduce
from operator import or_
from typing import Annotated

import typer

from gateway.cli.options import AsJson, ConfigFile
from gateway.cli.outcomes import coded, print_json
from gateway.errors import AdapterRejected, BadInput
from gateway.log.location import parse_location
from gateway.log.selection import iso, moment
from gateway.log.whole import whole_history
from gateway.registry.garbage import Collection, collect
from gateway.registry.opening import open_garbage, open_registry
from gateway.routing.named import Named, named_by
from gateway.routing.table import AdapterRef
from gateway.settings import read_settings

app = typer.Typer()

_YOUNGEST_S = 3600.0  # a publication that is under way is younger

Registry = Annotated[
    str | None,
    typer.Option(help="The registry's folder or URL (default: the setting).", show_default=False),
]


@app.command()
@coded
def verify(
    refs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME@VERSION]...", help="These; without any, all."),
    ] = None,
    registry: Registry = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Read every byte of the registry's adapters again, where it keeps them, and hash it. Exit 1
    where one is damaged."""
    settings = read_settings({"registry": registry}, file=config)
    opened = open_registry(settings.registry, cache=settings.registry_cache)
    wanted = [AdapterRef.parse(ref) for ref in refs] if refs else opened.refs()
    damaged: dict[str, str] = {}
    for ref in wanted:
        try:
            opened.verify(ref)
        except AdapterRejected as error:
            damaged[str(ref)] = error.message
    if as_json:
        print_json({"registry": opened.where, "adapters": len(wanted), "damaged": damaged})
    else:
        for message in damaged.values():
            print(f"DAMAGED  {message}")
        print(f"{len(wanted)} adapters in {opened.where}, {len(damaged)} damaged")
    if damaged:
        raise typer.Exit(1)


@app.command()
@coded
def gc(
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="A log's folder or Redis (default: the setting). Name the log of EVERY gateway "
            "that uses this registry; repeatable.",
            show_default=False,
        ),
    ] = None,
    registry: Registry = None,
    older_than: Annotated[
        str, typer.Option(help="Keep what was published since: 12h, 7d, or a time; at least 1h.")
    ] = "7d",
    registered: Annotated[
        bool,
        typer.Option(
            "--registered", help="Remove also what was only registered or revoked, never routed."
        ),
    ] = False,
    settle_s: Annotated[
        float,
        typer.Option(min=0, help="Seconds between hiding and removing; as an approval takes."),
    ] = 10.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Remove adapters that no revision of any log names, and what broken publications left.

    What a revision names, live or past, stays, so that every rollback finds its adapter. Nothing is
    removed where a log cannot be read whole.
    """
    settings = read_settings({"registry": registry}, file=config)
    now = time.time()
    before = moment(older_than, now)
    if before > now - _YOUNGEST_S:
        raise BadInput(
            f"--older-than {older_than} is less than 1h; what is being published at this moment is "
            "younger than that",
            param="older_than",
        )
    locations = [parse_location(text) for text in state] if state else [settings.state]

    def read_logs() -> Named:
        return reduce(or_, (named_by(whole_history(location)) for location in locations))

    done = collect(
        open_garbage(settings.registry),
        read_logs,
        now=now,
        before=before,
        with_registered=registered,
        dry_run=dry_run,
        settle=lambda: time.sleep(settle_s),
    )
    if as_json:
        print_json({"dry_run": dry_run, "before": iso(before), **_plain(done)})
        return
    verb = "would be removed" if dry_run else "removed"
    for each in done.removed:
        print(f"{each.ref!s:<32} {(each.digest or '')[:12]}  {each.size_bytes:>14,} bytes  {verb}")
    for ref in done.named_meanwhile:
        print(f"{ref!s:<32} kept: a log named it meanwhile")
    for ref in done.damaged:
        print(f"{ref!s:<32} kept: damaged (`gateway adapters verify`), and named by no log")
    sizes = [each.size_bytes for each in done.removed]
    size = sum(sizes) + sum(each.size_bytes for each in done.leftovers)
    print(
        f"{len(done.removed)} adapters and {len(done.leftovers)} leftovers {verb}, {size:,} bytes; "
        f"kept: {done.named} that a log names, {done.young} younger than {older_than}"
    )


def _plain(done: Collection) -> dict[str, object]:
    return {
        "removed": [{**asdict(each), "ref": str(each.ref)} for each in done.removed],
        "named_meanwhile": [str(ref) for ref in done.named_meanwhile],
        "damaged": [str(ref) for ref in done.damaged],
        "named": done.named,
        "young": done.young,
        "leftovers": [asdict(each) for each in done.leftovers],
    }
