"""Each command against a running gateway: what it says, what it changes, how it exits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gateway.routing.table import AdapterRef
from tests import tiny
from tests.gateway.cli.conftest import Cli
from tests.gateway.conftest import ROUTES, World, start

READS = (
    ("routes",),
    ("history",),
    ("show", "1"),
    ("diff", "1"),
    ("status",),
    ("config",),
    ("adapters", "list"),
    ("adapters", "show", "triage@1"),
)


async def test_every_read_prints_text_or_with_json_the_apis_answer(cli: Cli) -> None:
    for command in READS:
        text, data = await cli(*command), await cli(*command, "--json")
        assert (text.code, data.code) == (0, 0), (command, text.err, data.err)
        assert text.out.strip(), command
        assert isinstance(data.json, dict), command


async def test_a_disable_says_what_changed_and_at_which_revision(cli: Cli, world: World) -> None:
    done = await cli("disable", "triage", "--reason", "it answers nonsense")
    assert done.code == 0, done.err
    change, *replicas = done.out.splitlines()
    assert change == "triage: triage@1 (route) -> base (disabled) at revision 2"
    assert [line.split()[1:] for line in replicas] == [["obeyed", "serves", "revision", "2"]]
    assert str(world.gateway.plane.table.decisions["triage"].target) == "base"

    again = await cli("disable", "triage", "--reason", "twice")
    assert again.code == 1
    assert "is disabled already" in again.err
    assert "revision 2" in again.err

    back = await cli("enable", "triage")
    assert back.out.splitlines()[0] == "triage: base (disabled) -> triage@1 (route) at revision 3"


async def test_a_rollback_pins_and_a_resume_gives_the_file_its_say_back(
    cli: Cli, world: World, tmp_path: Path
) -> None:
    second = tmp_path / "second.yaml"
    second.write_text(ROUTES.replace("triage@1", "triage@2"))
    applied = await cli("apply", str(second), "-m", "version 2")
    assert applied.out == "triage: triage@1 (route) -> triage@2 (route) at revision 2\n"

    back = await cli("rollback", "triage")
    assert back.out.splitlines()[0] == "triage: triage@2 (route) -> triage@1 (pinned) at revision 3"

    shown = await cli("status")
    assert "triage pinned to revision 1" in shown.out
    assert "the file says triage@2" in shown.out

    resumed = await cli("resume", "triage", "--json")
    assert resumed.json["revision"] == 4
    assert resumed.json["changes"][0]["after"]["target"] == "triage@2"


async def test_a_dry_run_names_the_changes_and_makes_none(
    cli: Cli, world: World, tmp_path: Path
) -> None:
    file = tmp_path / "next.yaml"
    file.write_text(ROUTES.replace("target: base", "target: triage@2"))
    done = await cli("apply", str(file), "--dry-run")
    assert done.code == 0, done.err
    assert "nothing is applied" in done.out
    assert "facts: base (route) -> triage@2 (route)" in done.out
    assert world.gateway.plane.table.revision == 1


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
async def test_a_broken_table_exits_2_with_line_and_column(
    cli: Cli, world: World, tmp_path: Path, dry_run: list[str]
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(ROUTES.replace("max_tokens", "max_tokns"))
    done = await cli("apply", str(file), *dry_run)
    assert done.code == 2
    assert "5:5" in done.err
    assert "did you mean max_tokens" in done.err
    assert world.gateway.plane.table.revision == 1


async def test_a_file_that_is_not_there_exits_2_with_its_name(cli: Cli, tmp_path: Path) -> None:
    done = await cli("apply", str(tmp_path / "none.yaml"))
    assert done.code == 2
    assert "none.yaml cannot be read" in done.err


async def test_a_command_decided_on_an_old_revision_exits_4_and_names_who_moved_it(
    cli: Cli,
) -> None:
    await cli("disable", "triage", "-r", "first")
    late = await cli("enable", "triage", "--expected-revision", "1")
    assert late.code == 4
    assert "at revision 2, moved by" in late.err


async def test_an_unknown_workflow_exits_1_with_the_nearest_name(cli: Cli) -> None:
    done = await cli("disable", "triaeg", "-r", "typo")
    assert done.code == 1
    assert "did you mean triage?" in done.err


async def test_wrong_usage_exits_2(cli: Cli) -> None:
    assert (await cli("disable", "triage")).code == 2  # no reason given
    assert (await cli("nonsense")).code == 2


async def test_an_adapter_goes_from_added_to_approved_to_routed_to_revoked(
    cli: Cli, world: World, tiny_files: Path, tmp_path: Path
) -> None:
    folder = tiny.make_tiny_adapter(tmp_path / "peft", tiny_files / "model", seed=7)
    ref = AdapterRef("fresh", tmp_path.name.replace("_", "-")[-20:])  # the registry is shared
    file = tmp_path / "fresh.yaml"
    file.write_text(ROUTES.replace("target: base", f"target: {ref}"))

    added = await cli("adapters", "add", str(ref), str(folder), "--description", "of a test")
    assert added.out.startswith(f"{ref} is registered, candidate, digest ")

    early = await cli("apply", str(file))
    assert early.code == 2
    assert "candidate, not approved" in early.err

    unseen = await cli("adapters", "approve", str(ref), "--reason", "evals hold")
    assert unseen.code == 1
    assert "without a gate" in unseen.err
    mute = await cli("adapters", "approve", str(ref), "--override")
    assert mute.code == 1
    assert "needs a reason" in mute.err

    approved = await cli("adapters", "approve", str(ref), "--override", "--reason", "evals hold")
    assert approved.out.splitlines() == [
        f"{ref} approved at revision 3",
        "no route changed; revision 3",
    ]
    routed = await cli("apply", str(file))
    assert routed.out == f"facts: base (route) -> {ref} (route) at revision 4\n"

    over = f"{ref} is approved IN SPITE OF its gate (none), by "
    assert over in (await cli("status")).out
    assert "evals hold" in (await cli("adapters", "show", str(ref))).out
    assert "gate none OVERRIDDEN" in (await cli("adapters", "list")).out
    assert "none, OVERRIDDEN" in (await cli("show", "3")).out

    revoked = await cli("adapters", "revoke", str(ref), "--reason", "leaks")
    assert revoked.out.splitlines() == [
        f"{ref} revoked at revision 5",
        f"facts: {ref} (route) -> base (fallback) at revision 5",
    ]
    listed = await cli("adapters", "list", "--json")
    states = {item["ref"]: item["state"] for item in listed.json["adapters"]}
    assert states[str(ref)] == "revoked"


async def test_show_tells_who_when_why_and_the_table_after_it(cli: Cli) -> None:
    await cli("disable", "triage", "--reason", "it answers nonsense")
    shown = await cli("show", "2")
    assert "what      route_disabled triage" in shown.out
    assert "why       it answers nonsense" in shown.out
    assert "triage@1 (route) -> base (disabled) at revision 2" in shown.out


async def test_history_says_what_each_change_was_about(cli: Cli) -> None:
    await cli("disable", "triage", "--reason", "nonsense")
    await cli("keys", "create", "webshop")
    await cli("keys", "revoke", "webshop", "--reason", "leaked")
    lines = (await cli("history")).out.splitlines()
    about = [line.split()[3:5] for line in lines]
    assert about[:3] == [
        ["key_revoked", "webshop"],
        ["key_created", "webshop"],
        ["route_disabled", "triage"],
    ]
    assert about[3][0] == "table_applied"


async def test_status_says_what_is_wrong_with_the_file_and_where(cli: Cli, world: World) -> None:
    world.settings.routes.write_text(ROUTES.replace("triage@1", "triage@9"))
    await world.until(lambda: bool(world.gateway.plane.file_status.problems))
    shown = await cli("status")
    assert "NOT ACCEPTED" in shown.out
    assert "4:13: workflows.triage.target: adapter triage@9 is not in the registry" in shown.out
    assert "serving revision 1" in shown.out


async def test_status_names_a_damaged_adapter_and_after_a_restart_the_fallback_for_it(
    tiny_files: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_files, tmp_path / "files")
    world = await start(tmp_path / "files", tmp_path)
    try:
        whole = await Cli(world.admin, "")("status")
        assert "all can be served" in whole.out
        weights = tmp_path / "files/registry/triage/1/adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-8])
        hurt = await Cli(world.admin, "")("status")
        assert "triage@1 IS DAMAGED on disk: " in hurt.out
        assert "served on to triage" in hurt.out
    finally:
        await world.gateway.stop()
    world = await start(tmp_path / "files", tmp_path)
    try:
        lost = await Cli(world.admin, "")("status")
        assert "triage@1 CANNOT BE SERVED, its routes go to their fallback: " in lost.out
        routes = await Cli(world.admin, "")("routes")
        assert "triage: triage@1: the files in " in routes.out
    finally:
        await world.gateway.stop()


async def test_status_says_that_a_table_of_the_api_lies_above_the_file(
    cli: Cli, tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(ROUTES.replace("triage@1", "triage@2"))
    assert "LIES ABOVE" not in (await cli("status")).out
    await cli("apply", str(other))
    assert "a table applied over the API LIES ABOVE it" in (await cli("status")).out
