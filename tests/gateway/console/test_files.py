"""The console's files as they are served and packed; no browser."""

from __future__ import annotations

import re
import subprocess
import sys

import httpx
import pytest

from gateway.access.values import Role
from gateway.console.pages import FILES
from scripts.docs.figures import ROOT
from tests.gateway.api.test_operator_keys import make
from tests.gateway.conftest import World

_PACKED = """
from setuptools import Distribution
made = Distribution()
made.parse_config_files(["pyproject.toml"])
made.packages = ["gateway.console"]
made.include_package_data = False  # what is named counts, not what git has
command = made.get_command_obj("build_py")
command.ensure_finalized()
print(*(name for *_, names in command.data_files for name in names))
"""


@pytest.mark.asyncio(loop_scope="session")
async def test_the_files_are_open_and_their_policy_is_strict(world: World) -> None:
    await make(world, "boss", Role.APPROVER)
    async with httpx.AsyncClient(base_url=world.admin, follow_redirects=True) as client:
        page = await client.get("/")
        assert page.url.path == "/console/"
        assert page.headers["content-type"].startswith("text/html")
        script = await client.get("/console/main.js")
        assert script.headers["content-type"].startswith("text/javascript")
        for answer in (page, script):
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "set-cookie" not in answer.headers
        assert (await client.get("/console/nothing.js")).status_code == 404
        assert (await client.get("/console/../admin/v1/routes")).status_code == 401
        assert (await client.get("/console%2f../admin/v1/routes")).status_code in (401, 404)


def test_nothing_is_inline_and_nothing_is_elsewhere() -> None:
    for file in FILES.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, file
        if file.suffix == ".html":
            assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", text), file
        if file.suffix == ".js":
            assert not re.search(
                r"\.innerHTML\s*=[^=]|insertAdjacentHTML|\beval\(|document\.cookie", text
            )


def test_an_installed_package_has_every_file() -> None:
    packed = subprocess.run(
        [sys.executable, "-c", _PACKED], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {f.name for f in FILES.iterdir()} == {name.rsplit("/", 1)[-1] for name in packed.split()}
