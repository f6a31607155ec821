"""`gateway audit`: what the log says, out of the gateway or out of its file, and edits found."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

from gateway.log.record import from_line, hash_of, to_line
from gateway.log.sqlite import FILE_NAME
from tests.gateway.cli.conftest import NOBODY, Cli
from tests.gateway.conftest import World


async def some_history(cli: Cli) -> None:
    await cli("disable", "triage", "--reason", "wrong answers")
    await cli("enable", "triage", "--reason", "mended")
    await cli("disable", "facts", "--reason", "slow")


async def test_list_says_who_what_from_where_and_why_and_filters(cli: Cli) -> None:
    await some_history(cli)
    lines = (await cli("audit", "list")).out.splitlines()
    assert len(lines) == 4
    assert "route_disabled" in lines[1]
    assert "/127.0.0.1: wrong answers" in lines[1]
    found = await cli("audit", "list", "--workflow", "triage", "--kind", "route_enabled", "--json")
    assert [e["reason"] for e in found.json["events"]] == ["mended"]
    assert "no event" in (await cli("audit", "list", "--actor", "nobody")).out
    assert (await cli("audit", "list", "--since", "soon")).code == 2


async def test_the_chain_is_whole_online_offline_and_in_an_export(cli: Cli, tmp_path: Path) -> None:
    await some_history(cli)
    online = await cli("audit", "verify", "--json")
    assert online.json["ok"] is True
    assert online.json["events"] == 4
    down = Cli(NOBODY, cli.state)
    assert (await down("audit", "verify", "--offline", "--json")).json == online.json
    file = tmp_path / "audit.jsonl"
    done = await cli("audit", "export", "--out", str(file))
    assert (done.code, done.out) == (0, "")
    assert (await cli("audit", "verify", "--file", str(file), "--json")).json == online.json
    assert (await cli("audit", "verify", "--head", online.json["head"])).code == 0


async def test_verify_tells_a_log_that_this_version_cannot_serve(
    cli: Cli, world: World, tmp_path: Path
) -> None:
    await some_history(cli)
    file = tmp_path / "audit.jsonl"
    await cli("audit", "export", "--out", str(file))
    lines = [from_line(line) for line in file.read_text().splitlines()]
    newer = replace(lines[-1], revision=5, change='{"v": 2, "kind": "route_disabled"}')
    newer = replace(newer, hash=hash_of(newer, lines[-1].hash))
    file.write_text("\n".join(map(to_line, [*lines, newer])))
    found = await cli("audit", "verify", "--file", str(file))
    assert found.code == 1
    assert "cannot read revision 5" in found.err
    as_json = await cli("audit", "verify", "--file", str(file), "--json")
    assert (as_json.code, as_json.json["ok"]) == (1, False)
    assert as_json.json["first_bad_revision"] is None
    assert as_json.json["first_unreadable_revision"] == 5


async def test_an_edit_of_the_past_is_found_in_the_file(cli: Cli, world: World) -> None:
    await some_history(cli)
    head = (await cli("audit", "verify", "--json")).json["head"]
    file = sqlite3.connect(Path(cli.state) / FILE_NAME)
    file.execute("DROP TRIGGER events_never_change")
    file.execute("UPDATE events SET actor = 'somebody' WHERE revision = 2")
    file.commit()
    for where in ((), ("--offline",)):
        found = await cli("audit", "verify", *where)
        assert found.code == 1
        assert "revision 2 is edited" in found.err
    as_json = await cli("audit", "verify", "--json")
    assert as_json.code == 1
    assert as_json.json["first_bad_revision"] == 2

    # One who can compute the hashes again is found by a head that was noted elsewhere.
    file.execute("DROP TRIGGER events_never_go")
    file.execute("DELETE FROM events WHERE revision > 1")
    file.commit()
    file.close()
    assert (await cli("audit", "verify", "--offline")).code == 0
    cut = await cli("audit", "verify", "--offline", "--head", head)
    assert cut.code == 1
    assert "revision 4" in cut.err


async def test_an_edited_export_is_found_by_its_line_or_its_chain(cli: Cli, tmp_path: Path) -> None:
    await some_history(cli)
    lines = (await cli("audit", "export")).out.splitlines()
    record = json.loads(lines[2])
    record["reason"] = "another"
    file = tmp_path / "audit.jsonl"
    file.write_text("\n".join([*lines[:2], json.dumps(record), *lines[3:]]))
    assert "revision 3" in (await cli("audit", "verify", "--file", str(file))).err
    file.write_text("\n".join([*lines[:2], "{}", *lines[3:]]))
    broken = await cli("audit", "verify", "--file", str(file))
    assert broken.code == 2
    assert f"{file}:3" in broken.err
