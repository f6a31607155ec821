"""`gateway watch` beside a running gateway: on a terminal, without one, and for scripts."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from gateway.cli.looking import metrics_url
from tests.gateway.cli.conftest import NOBODY, Cli
from tests.gateway.cli.terminal import Terminal
from tests.gateway.conftest import World, start
from tests.gateway.guard.test_watch import BAD, reason_of, routes, see

# The command alone: the engine's imports would make it start as slowly as a gateway.
CODE = "from gateway.cli.watch import app; app()"
SOON = ("--interval", "0.1")


def terminal(world: World) -> Terminal:
    return Terminal(CODE, *SOON, environment={"GATEWAY_ADMIN_URL": world.admin})


def lines_of(world: World) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *SOON, "--json", "--admin-url", world.admin],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def ask(world: World, times: int = 1) -> None:
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        for _ in range(times):
            body = {"model": "triage", "prompt": "fox", "max_tokens": 2}
            (await http.post("/v1/completions", json=body)).raise_for_status()


async def test_the_screen_follows_the_gateway(world: World) -> None:
    screen = terminal(world)
    try:
        await screen.shows("triage@1")
        await screen.shows("q quits")
        await world.order("POST", "/workflows/triage/disable", reason="it chatters", actor="ada")
        await screen.shows("disabled by ada: it chatters")
    finally:
        screen.close()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda screen: screen.type("q"), 0),
        (lambda screen: screen.type("\x03"), 0),
        (lambda screen: screen.process.send_signal(signal.SIGTERM), 128 + signal.SIGTERM),
    ],
    ids=["q", "ctrl-c", "SIGTERM"],
)
async def test_however_it_ends_the_terminal_is_as_it_was(
    world: World, end: Callable[[Terminal], None], code: int
) -> None:
    screen = terminal(world)
    try:
        await screen.shows("q quits")
        assert screen.settings() != screen.before  # keys come without Enter
        end(screen)
        assert await screen.ended() == code
        assert screen.settings() == screen.before
        assert screen.raw.rindex("\x1b[?1049l") > screen.raw.rindex("\x1b[?1049h")
        assert screen.raw.rindex("\x1b[?25h") > screen.raw.rindex("\x1b[?25l")
        assert "Traceback" not in screen.raw
    finally:
        screen.close()


async def test_a_gateway_that_goes_away_leaves_the_last_view_and_says_so(
    tiny_files: Path, tmp_path: Path
) -> None:
    world = await start(tiny_files, tmp_path)
    screen = terminal(world)
    try:
        await screen.shows("triage@1")
        await world.gateway.stop()
        await screen.shows("no gateway answers")
        await screen.shows("triage@1")
        screen.type("q")
        assert await screen.ended() == 0
    finally:
        screen.close()


async def test_once_for_scripts_is_one_object_with_rates(cli: Cli, world: World) -> None:
    asking = asyncio.create_task(ask(world, 200))
    try:
        seen = await cli("watch", "--once", "--json", "--interval", "0.5")
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert seen.code == 0, seen.err
    (triage,) = [route for route in seen.json["routes"] if route["workflow"] == "triage"]
    assert (triage["target"], triage["reason"]) == ("triage@1", "route")
    assert triage["rates"]["requests_s"] > 0
    assert triage["rates"]["tokens_s"] > 0
    assert triage["rates"]["first_token_p95_s"] > 0
    assert seen.json["problems"] == []


async def test_without_a_terminal_it_is_plain_lines_of_80_columns(cli: Cli, world: World) -> None:
    await world.order("POST", "/workflows/triage/disable", reason="x" * 200)
    seen = await cli("watch", "--once", *SOON)
    assert seen.code == 0, seen.err
    lines = seen.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith("triage") and "disabled" in line for line in lines)
    assert "\x1b" not in seen.out


async def test_a_trip_is_shown_with_its_reason(tiny_files: Path, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(routes())
    world = await start(tiny_files, tmp_path)
    try:
        see(world, "triage", *BAD)
        await world.until(lambda: reason_of(world) == "disabled")
        seen = await Cli(world.admin, "")("watch", "--once", "--json", *SOON)
        (trip,) = seen.json["trips"]
        assert (trip["workflow"], trip["action"]) == ("triage", "disable")
        assert "answers are bad" in trip["why"]
        (route,) = [each for each in seen.json["routes"] if each["workflow"] == "triage"]
        assert route["guard"]["tripped"]
        assert "disabled by guard: labels" in route["note"]
    finally:
        await world.gateway.stop()


async def test_who_stops_reading_the_lines_ends_it_quietly(world: World) -> None:
    process = lines_of(world)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert '"routes"' in await asyncio.to_thread(process.stdout.readline)
        process.stdout.close()
        assert await asyncio.to_thread(process.wait, 60) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()


async def test_where_no_gateway_answers_it_says_so_and_takes_no_screen() -> None:
    seen = await Cli(NOBODY, "")("watch")
    assert seen.code == 3
    assert "no gateway answers" in seen.err


async def test_metrics_that_cannot_be_read_are_a_problem_and_not_the_end(cli: Cli) -> None:
    seen = await cli("watch", "--once", "--json", *SOON, "--metrics-url", f"{NOBODY}/metrics")
    assert seen.code == 0
    assert "no rates: http://127.0.0.1:9/metrics cannot be read" in seen.json["problems"][0]
    assert all(route["rates"] is None for route in seen.json["routes"])


@pytest.mark.parametrize(
    ("inference", "expected"),
    [
        ("http://10.0.0.7:8000", "http://10.0.0.7:8000/metrics"),
        ("http://0.0.0.0:8000", "http://gw.example:8000/metrics"),
        ("http://[::]:8000", "http://gw.example:8000/metrics"),
        ("", None),
    ],
)
def test_metrics_are_where_the_gateway_that_was_asked_says(
    inference: str, expected: str | None
) -> None:
    replicas = [
        {"replica": "other", "inference": "http://10.0.0.9:1"},
        {"replica": "mine", "inference": inference},
    ]
    status = {"replica": "mine", "replicas": replicas}
    assert metrics_url(status, "http://gw.example:8001") == expected
