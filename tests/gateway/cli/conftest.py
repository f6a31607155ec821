"""The `gateway` command as an operator calls it, against a running gateway or against none."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from tests.gateway.conftest import World

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """Calls the command with the world's addresses and folders."""

    admin: str
    state: str
    key: str = ""

    async def __call__(self, *arguments: str) -> Said:
        """Run it beside the gateway's loop, which must go on answering."""
        return await asyncio.to_thread(self.run, *arguments)

    def run(self, *arguments: str) -> Said:
        environment = {
            "GATEWAY_ADMIN_URL": self.admin,
            "GATEWAY_STATE": self.state,
            "GATEWAY_ADMIN_KEY": self.key,
            "COLUMNS": "200",
        }
        result = CliRunner().invoke(app, list(arguments), env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def cli(world: World) -> Cli:
    return Cli(world.admin, str(world.settings.state))
