"""What the files of deploy/ say of the gateway is true of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, ROOT, gateway_variables, resources, settings_names

FILES = sorted(
    path
    for path in DEPLOY.rglob("*")
    if path.is_file() and path.suffix in {"", ".yaml", ".service", ".example"}
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_variable_is_a_setting(path: Path) -> None:
    assert gateway_variables(path.read_text(encoding="utf-8")) <= settings_names()


def test_probes_ask_for_what_the_inference_api_has() -> None:
    served = set(
        re.findall(r"`GET (/\S+)`", (ROOT / "docs/reference/inference-api.md").read_text())
    )
    asked = set()
    for _, document in resources():
        asked |= set(re.findall(r"path: (/health/\w+)", yaml.safe_dump(document)))
    dockerfile = (DEPLOY / "container/Dockerfile").read_text()
    asked |= {f"/health/{name}" for name in re.findall(r"8000/health/(\w+)", dockerfile)}
    assert asked == {"/health/live", "/health/ready"}
    assert asked <= served


def test_what_the_image_is_made_from_is_there_and_let_through() -> None:
    text = (DEPLOY / "container/Dockerfile").read_text()
    copied = [
        name
        for line in text.splitlines()
        if (found := re.match(r"COPY (?!--from)(.*) \S+$", line))
        for name in found[1].split()
    ]
    let_through = (DEPLOY / "container/Dockerfile.dockerignore").read_text().splitlines()
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in let_through


@pytest.mark.parametrize("path", ["compose.yaml", "systemd/gateway.service"])
def test_a_stop_waits_for_running_requests(path: str) -> None:
    from gateway.settings import Settings

    text = (DEPLOY / path).read_text()
    (seconds,) = re.findall(r"(?:stop_grace_period: |TimeoutStopSec=)(\d+)", text)
    assert int(seconds) > Settings().grace_s
