"""compose.yaml by the Compose specification's own schema, and what it names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.manifests import DEPLOY, documents

COMPOSE = DEPLOY / "compose.yaml"


def check(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema"]
    command += ["--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def content() -> dict[str, Any]:
    return documents(COMPOSE)[0]


def test_it_is_what_compose_takes() -> None:
    done = check(COMPOSE)
    assert done.returncode == 0, done.stdout


def test_the_schema_would_refuse_a_misspelt_key(tmp_path: Path) -> None:
    wrong = content()
    wrong["services"]["redis"]["comand"] = ["redis-server"]
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(wrong))
    assert check(tmp_path / "compose.yaml").returncode != 0


def test_every_volume_file_and_config_is_there() -> None:
    stack = content()
    for name, service in stack["services"].items():
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
            if source.startswith("."):
                assert (COMPOSE.parent / source).exists(), (name, source)
            else:
                assert source in stack["volumes"], (name, source)
        for config in service.get("configs", []):
            assert config["source"] in stack["configs"]
        for other in service.get("depends_on", {}):
            assert other in stack["services"]


def test_nothing_listens_beyond_the_machine() -> None:
    for name, service in content()["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_prometheus_asks_every_gateway() -> None:
    stack = content()
    config = yaml.safe_load(stack["configs"]["prometheus"]["content"])
    (scrape,) = config["scrape_configs"]
    (static,) = scrape["static_configs"]
    gateways = [f"{name}:8000" for name in stack["services"] if name.startswith("gateway")]
    assert static["targets"] == gateways


def test_the_gateways_are_confined_and_share_the_log() -> None:
    for name, service in content()["services"].items():
        if name.startswith("gateway"):
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["environment"]["GATEWAY_STATE"].startswith("redis://redis:")
            assert service["environment"]["GATEWAY_REPLICA"] == name
