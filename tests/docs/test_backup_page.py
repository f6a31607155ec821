"""What docs/operations/backup.md says to type, beside a running gateway; and a start on it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from gateway.log.sqlite import FILE_NAME
from gateway.routing.table import Reason
from scripts.docs.figures import ROOT
from tests.docs.test_readme import Shell, steps
from tests.gateway.conftest import start

PAGE = ROOT / "docs/operations/backup.md"


async def test_a_backup_made_as_the_page_says_is_proven_and_serves(
    tiny_files: Path, tmp_path: Path
) -> None:
    world = await start(tiny_files, tmp_path)
    await world.order("POST", "/workflows/triage/disable", reason="before the backup")
    shell = Shell(tmp_path, *world.gateway.ports)
    said = ""
    for step in steps(PAGE.read_text(encoding="utf-8")):
        said += await asyncio.to_thread(shell.run, step.command)
    await world.order("POST", "/workflows/facts/disable", reason="after it")
    await world.gateway.stop()
    heads = re.findall(r"^head (\S+)$", said, re.MULTILINE)
    assert len(heads) == 2  # of the copy and of the export
    assert len(set(heads)) == 1

    restored = tmp_path / "restored"
    restored.mkdir()
    (tmp_path / "backup.sqlite").rename(restored / FILE_NAME)
    verify = ".venv/bin/gateway audit verify --offline --state restored"
    await asyncio.to_thread(shell.run, f"{verify} --head {heads[0]}")
    world = await start(tiny_files, tmp_path, state=restored)
    try:
        decisions = world.gateway.plane.table.decisions
        assert decisions["triage"].reason is Reason.DISABLED
        assert decisions["facts"].reason is Reason.ROUTE  # ordered after the backup
    finally:
        await world.gateway.stop()
