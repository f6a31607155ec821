"""The systemd unit by systemd's own check."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY

UNIT = DEPLOY / "systemd/gateway.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze (Debian: systemd) is not here"
)


def verify(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`systemd-analyze verify` of a unit whose command is on this machine."""
    unit = folder / "gateway.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    return subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@needs_systemd
def test_systemd_takes_it(tmp_path: Path) -> None:
    done = verify(UNIT.read_text(), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@needs_systemd
def test_systemd_would_say_what_is_misspelt(tmp_path: Path) -> None:
    done = verify(UNIT.read_text().replace("ProtectHome=", "ProtectHouse="), tmp_path)
    assert "ProtectHouse" in done.stderr
