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


def test_prometheus_asks_every_gateway_and_every_engine() -> None:
    stack = content()
    config = yaml.safe_load(stack["configs"]["prometheus"]["content"])
    asked = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]
    }
    assert asked == {
        "gateway": [f"{name}:8000" for name in named(stack, "gateway")],
        "engine": [f"{name}:8100" for name in named(stack, "engine")],
    }


def test_every_gateway_has_every_engine_and_its_key_and_folder() -> None:
    stack = content()
    engines = [stack["services"][name] for name in named(stack, "engine")]
    assert len(engines) == 2
    for name in named(stack, "gateway"):
        gateway = stack["services"][name]
        settings = gateway["environment"]
        assert settings["GATEWAY_ENGINE"] == "upstream"
        servers = [f"http://{engine}:8100" for engine in named(stack, "engine")]
        assert settings["GATEWAY_SERVERS"].split(",") == servers
        for engine in engines:
            assert engine["command"][-2:] == ["--port", "8100"]
            assert engine["environment"]["GATEWAY_SERVER_KEY"] == settings["GATEWAY_SERVER_KEY"]
            assert set(engine["networks"]) <= set(gateway["networks"])
            assert set(engine["volumes"]) <= set(gateway["volumes"])


def test_the_engines_are_confined_and_reached_by_gateways_and_prometheus_alone() -> None:
    stack = content()
    for name in named(stack, "engine"):
        engine = stack["services"][name]
        assert engine["read_only"] is True
        assert engine["cap_drop"] == ["ALL"]
        assert "ports" not in engine
        assert engine["networks"] == ["engines"]
    there = {
        name for name, one in stack["services"].items() if "engines" in one.get("networks", [])
    }
    assert there == {*named(stack, "gateway"), *named(stack, "engine"), "prometheus"}


def named(stack: dict[str, Any], kind: str) -> list[str]:
    """The services of that kind."""
    return [name for name in stack["services"] if name.startswith(kind)]


def test_the_gateways_are_confined_and_share_the_log() -> None:
    for name, service in content()["services"].items():
        if name.startswith("gateway"):
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
            assert service["environment"]["GATEWAY_STATE"].startswith("redis://redis:")
            assert service["environment"]["GATEWAY_REPLICA"] == name
