"""`gateway promote` and `gateway abort`: what they say and how they exit, gateway or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gateway.cli.conftest import NOBODY, Cli
from tests.gateway.conftest import start

ROUTES = """\
version: 1
workflows:
  triage:
    target: triage@1
    canary: {adapter: triage@2, steps: [5, 100]}
  facts: {target: base}
"""


async def test_the_commands_move_a_canary_and_status_tells_how_far_it_is(
    tiny_files: Path, tmp_path: Path
) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    world = await start(tiny_files, tmp_path)
    cli = Cli(world.admin, str(world.settings.state))
    try:
        shown = await cli("status")
        assert "canary     triage tries triage@2 at 5%, step 1 of 2" in shown.out
        assert "`gateway promote triage` moves it to 100%" in shown.out

        done = await cli("promote", "triage", "--reason", "good so far")
        assert done.code == 0, done.err
        assert done.out.splitlines()[0] == (
            "triage: triage@1 (route) with triage@2 at 5% (canary) -> "
            "triage@1 (route) with triage@2 at 100% (canary) at revision 2"
        )
        assert "obeyed" in done.out

        whole = await cli("promote", "triage", "--reason", "all", "--json")
        assert whole.json["event"]["kind"] == "canary_promoted"
        shown = await cli("status")
        assert "triage@2 answers EVERYTHING of triage, the file still says triage@1" in shown.out

        back = await cli("abort", "triage", "--reason", "it is not")
        assert back.out.splitlines()[0] == (
            "triage: triage@2 (canary) -> triage@1 (route) at revision 4"
        )
        shown = await cli("status")
        assert "triage@2 was ABORTED for triage" in shown.out
        assert "it is not" in shown.out

        again = await cli("abort", "triage", "--reason", "twice")
        assert again.code == 1
        assert "was aborted for triage already" in again.err
        none = await cli("promote", "facts", "--reason", "which?")
        assert none.code == 1
        assert "facts has no canary" in none.err
        history = await cli("history")
        assert "canary_aborted" in history.out
        assert "it is not" in history.out
    finally:
        await world.gateway.stop()

    cli = Cli(NOBODY, str(world.settings.state))
    done = await cli("resume", "triage", "--reason", "mended")
    assert done.code == 0, done.err
    assert "the gateway is down" in done.out
    done = await cli("promote", "triage", "--reason", "early", "--whole", "--json")
    assert done.json["changes"][0]["after"]["reason"] == "canary"
    moved = await cli("abort", "triage", "--reason", "x", "--expected-revision", "1")
    assert moved.code == 4


@pytest.mark.parametrize("command", ["promote", "abort"])
def test_a_reason_must_be_given(command: str) -> None:
    assert Cli(NOBODY, "nowhere").run(command, "triage").code == 2
