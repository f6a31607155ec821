"""With the gateway down the hand goes straight to the log, and the next start obeys."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from gateway.log.sqlite import FILE_NAME
from tests.gateway.cli.conftest import NOBODY, Cli
from tests.gateway.conftest import ROUTES, World, settings_for, start


async def stopped(files: Path, folder: Path) -> Cli:
    """A gateway ran here, took in two tables, and is down."""
    world = await start(files, folder)
    world.settings.routes.write_text(ROUTES.replace("triage@1", "triage@2"))
    await world.until(lambda: world.gateway.plane.table.revision == 2)
    await world.gateway.stop()
    return Cli(NOBODY, str(world.settings.state))


async def decision(world: World) -> tuple[str, str]:
    found = world.gateway.plane.table.decisions["triage"]
    return str(found.target), str(found.reason)


async def test_what_is_commanded_while_it_is_down_is_obeyed_from_the_next_start(
    tiny_files: Path, tmp_path: Path
) -> None:
    cli = await stopped(tiny_files, tmp_path)

    disabled = await cli("disable", "triage", "--reason", "found while down")
    assert disabled.code == 0, disabled.err
    assert disabled.out.startswith(
        "triage: triage@2 (route) -> base (disabled) at revision 3\nthe gateway is down: "
    )
    world = await start(tiny_files, tmp_path)
    assert await decision(world) == ("base", "disabled")
    await world.gateway.stop()

    rolled = await cli("rollback", "triage", "--json")
    assert rolled.json["offline"] is True
    assert rolled.json["revision"] == 4
    enabled = await cli("enable", "triage")
    assert "base (disabled) -> triage@1 (pinned) at revision 5" in enabled.out
    world = await start(tiny_files, tmp_path)
    assert await decision(world) == ("triage@1", "pinned")
    await world.gateway.stop()

    assert (await cli("resume", "triage")).code == 0
    world = await start(tiny_files, tmp_path)
    assert await decision(world) == ("triage@2", "route")
    await world.gateway.stop()


async def test_the_same_refusals_hold_while_it_is_down(tiny_files: Path, tmp_path: Path) -> None:
    cli = await stopped(tiny_files, tmp_path)
    unknown = await cli("disable", "triaeg", "-r", "typo")
    assert unknown.code == 1
    assert "did you mean triage?" in unknown.err
    late = await cli("disable", "triage", "-r", "late", "--expected-revision", "1")
    assert late.code == 4
    assert "at revision 2, moved by file" in late.err
    assert (await cli("enable", "triage")).code == 1


async def test_a_folder_without_a_log_exits_3_and_makes_none(tmp_path: Path) -> None:
    cli = Cli(NOBODY, str(tmp_path / "elsewhere"))
    done = await cli("disable", "triage", "-r", "wrong folder")
    assert done.code == 3
    assert str(tmp_path / "elsewhere" / FILE_NAME) in done.err
    assert "--state" in done.err
    assert not (tmp_path / "elsewhere").exists()


async def test_a_connection_that_breaks_after_the_command_exits_3_and_writes_nothing(
    tiny_files: Path, tmp_path: Path
) -> None:
    cli = await stopped(tiny_files, tmp_path)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        broken = replace(cli, admin=f"http://127.0.0.1:{port}")
        done = await broken("disable", "triage", "-r", "is it done?")
    assert done.code == 3
    assert "it is not known whether the command took effect" in done.err
    late = await cli("disable", "triage", "-r", "look", "--expected-revision", "2")
    assert late.code == 0, late.err


async def test_reads_and_tables_need_a_running_gateway_and_exit_3(tmp_path: Path) -> None:
    cli = replace(Cli(NOBODY, ""), state=str(tmp_path))
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES)
    for command in (("routes",), ("status",), ("history",), ("apply", str(file))):
        done = await cli(*command)
        assert done.code == 3, command
        assert f"no gateway answers at {NOBODY}" in done.err


def test_serve_ends_with_2_and_the_place_where_the_file_is_broken(
    tiny_files: Path, tmp_path: Path
) -> None:
    settings = settings_for(tiny_files, tmp_path)
    settings.routes.write_text(ROUTES.replace("target: base", "target: bse"))
    flags = [
        f"--{name.replace('_', '-')}={getattr(settings, name)}"
        for name in ("port", "admin_port", "routes", "registry", "model", "slots", "max_len")
    ]
    done = Cli(NOBODY, str(settings.state)).run("serve", *flags)
    assert done.code == 2
    assert f"{settings.routes}:8:13: workflows.facts.target" in done.err


def test_serve_refuses_a_bad_setting_by_name_before_anything_is_loaded(tmp_path: Path) -> None:
    done = Cli(NOBODY, str(tmp_path)).run("serve", "--max-rank", "0")
    assert done.code == 2
    assert "setting max_rank" in done.err
