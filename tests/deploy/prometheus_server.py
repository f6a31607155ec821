"""A real Prometheus with the shipped configuration, in which time runs faster.

Every duration of the shipped files (intervals, windows, `for`) is divided by one number, so that
what takes a minute out there takes two seconds here, and nothing else differs.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.debian import program
from tests.deploy.promtool import PROMETHEUS, RULES, read
from tests.redis_server import free_port

FASTER = 30
_DURATION = re.compile(r"(?<![\w.])(\d+)(ms|s|m|h|d)(?!\w)")
_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_IN_EXPRESSION = re.compile(r"\[[^\]]+\]|offset \w+")
_START_S = 30.0


def faster(text: str) -> str:
    """`text` with every duration in it shortened."""
    return _DURATION.sub(lambda m: f"{max(1, int(m[1]) * _MS[m[2]] // FASTER)}ms", text)


def faster_expression(expr: str) -> str:
    """`expr` with its windows and offsets shortened."""
    return _IN_EXPRESSION.sub(lambda m: faster(m[0]), expr)


@dataclass(frozen=True)
class Sample:
    """One series of an answer."""

    labels: dict[str, str]
    value: float


class PrometheusServer:
    """One server that scrapes `target` (host:port). Its data is in `folder`."""

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._target = target
        self._process: asyncio.subprocess.Process | None = None
        self._http: httpx.AsyncClient | None = None

    async def start(self) -> None:
        """Start and wait until it answers."""
        config = self._write()
        port = free_port()
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                program("prometheus", "prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                stdout=log,
                stderr=log,
            )
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
        async with asyncio.timeout(_START_S):
            while not await self._ready(self._http):
                assert self._process.returncode is None, (
                    self._folder / "prometheus.log"
                ).read_text()
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        if self._http is not None:
            await self._http.aclose()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def query(self, expr: str) -> list[Sample]:
        """The series of `expr` now."""
        result = (await self._get("query", query=expr))["result"]
        return [Sample(each["metric"], float(each["value"][1])) for each in result]

    async def alerts(self) -> dict[str, str]:
        """The alerts that are not at rest, by name: pending or firing."""
        return {a["labels"]["alertname"]: a["state"] for a in (await self._get("alerts"))["alerts"]}

    async def annotations(self, name: str) -> dict[str, str]:
        """What the alert called `name` says."""
        (found,) = (
            a["annotations"]
            for a in (await self._get("alerts"))["alerts"]
            if a["labels"]["alertname"] == name
        )
        return dict(found)

    async def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health and when it was last judged."""
        groups = (await self._get("rules"))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def _get(self, what: str, **params: str) -> Any:
        assert self._http is not None
        answer = await self._http.get(f"/api/v1/{what}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def _ready(self, http: httpx.AsyncClient) -> bool:
        try:
            return (await http.get("/-/ready")).status_code == 200
        except httpx.TransportError:
            return False

    def _write(self) -> Path:
        rules = self._folder / "rules"
        rules.mkdir(parents=True)
        for path in RULES:
            content = read(path)
            for rule in (rule for group in content["groups"] for rule in group["rules"]):
                rule["expr"] = faster_expression(rule["expr"])
                if "for" in rule:
                    rule["for"] = faster(rule["for"])
            (rules / path.name).write_text(yaml.safe_dump(content))
        config = read(PROMETHEUS / "prometheus.yml")
        config["global"] = {name: faster(value) for name, value in config["global"].items()}
        (job,) = config["scrape_configs"]
        job["static_configs"] = [{"targets": [self._target]}]
        path = self._folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        return path
