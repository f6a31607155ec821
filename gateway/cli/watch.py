"""`gateway watch`: routes, rates, guards, trips and the fleet, live; or once, for scripts."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from gateway.cli.client import AdminClient, OutcomeUnknown, Refused, Unreachable
from gateway.cli.keyboard import Keyboard
from gateway.cli.looking import Looks
from gateway.cli.options import ADMIN_URL, AdminUrl
from gateway.cli.outcomes import coded, print_json
from gateway.view.draw import draw
from gateway.view.overview import Overview

app = typer.Typer()

_PLAIN_WIDTH = 80
_TERMINATED = 128 + signal.SIGTERM


@app.command()
@coded
def watch(
    admin_url: AdminUrl = ADMIN_URL,
    metrics_url: Annotated[
        str | None,
        typer.Option(
            envvar="GATEWAY_METRICS_URL",
            help="Where the gateway's metrics are; default: as the gateway says.",
        ),
    ] = None,
    interval: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds between looks.")] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Show one interval's rates, and end.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON; without --once, an object a line.")
    ] = False,
) -> None:
    """Routes, rates, guards, trips and the fleet, live. Key q or ctrl-c ends it.

    Where the output is no terminal, it is plain lines.
    """
    looks = Looks(AdminClient(admin_url), admin_url, metrics_url)
    seen = looks.look()  # who asks a gateway that is not there is told so, and no screen is taken
    console = Console()
    if once:
        time.sleep(interval)
        seen = looks.look()
        print_json(asdict(seen)) if as_json else _print(seen, console)
    elif as_json or console.is_dumb_terminal or not console.is_terminal:
        _stream(looks, interval, console, as_json=as_json)
    else:
        _screen(looks, seen, interval, console)


def _stream(looks: Looks, interval: float, console: Console, *, as_json: bool) -> None:
    """A view each interval, until interrupted or until nobody reads on."""
    try:
        while True:
            time.sleep(interval)
            try:
                seen = looks.look()
            except (Unreachable, Refused, OutcomeUnknown) as error:
                print(f"error: {error}", file=sys.stderr, flush=True)
                continue
            if as_json:
                print(json.dumps(asdict(seen), ensure_ascii=False), flush=True)
            else:
                _print(seen, console)
                print(flush=True)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end


def _print(seen: Overview, console: Console) -> None:
    width = console.width if console.is_terminal else _PLAIN_WIDTH
    for line in draw(seen, width):
        console.print(line, soft_wrap=True)


class _Looker(threading.Thread):
    """Looks in the background, so that no slow gateway holds up a key. A daemon: it holds nothing
    that must be closed."""

    def __init__(self, looks: Looks, interval: float) -> None:
        super().__init__(name="looks", daemon=True)
        self._looks = looks
        self._interval = interval
        self._found: queue.SimpleQueue[Overview | str] = queue.SimpleQueue()
        self.ready, self._tell = os.pipe()  # `ready` can be read once there is something new

    def run(self) -> None:
        while True:
            time.sleep(self._interval)
            try:
                found: Overview | str = self._looks.look()
            except (Unreachable, Refused, OutcomeUnknown) as error:
                found = str(error)
            self._found.put(found)
            os.write(self._tell, b".")

    def news(self) -> Iterator[Overview | str]:
        """What was found since, oldest first: a look, or why there was none."""
        os.read(self.ready, 1024)
        while not self._found.empty():
            yield self._found.get()


def _screen(looks: Looks, seen: Overview, interval: float, console: Console) -> None:
    """The live view on a terminal, which is left as it was found."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    looker = _Looker(looks, interval)
    problem = ""
    with (
        Keyboard() as keyboard,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        looker.start()
        try:
            while True:
                live.update(_page(seen, problem, console), refresh=True)
                if "q" in keyboard.typed(looker.ready):
                    return
                for news in looker.news() if keyboard.woken else ():
                    if isinstance(news, str):
                        problem = news
                    else:
                        seen, problem = news, ""
        except KeyboardInterrupt:
            return


def _page(seen: Overview, problem: str, console: Console) -> Group:
    """As high as the screen, with the foot on its last line."""
    width, height = console.size
    foot = Text("q quits", "dim")
    if problem:
        when = time.strftime("%H:%M:%S", time.localtime(seen.at))
        foot = Text(f"{problem}; this is of {when}", "bold red")
    foot.truncate(width, overflow="ellipsis")
    lines = draw(seen, width, height - 1)[: height - 1]
    return Group(*lines, *[Text()] * (height - 1 - len(lines)), foot)
