"""compose.vllm.yaml, which goes over compose.yaml: the gateways with two vLLM servers."""

from __future__ import annotations

import re
from typing import Any

from gateway.settings import PREFIX, Settings
from tests.deploy.manifests import DEPLOY, documents
from tests.deploy.test_compose import check

OVER = DEPLOY / "compose.vllm.yaml"


def content() -> dict[str, Any]:
    return documents(OVER)[0]


def servers() -> dict[str, Any]:
    return {name: one for name, one in content()["services"].items() if name.startswith("vllm")}


def test_it_is_what_compose_takes() -> None:
    done = check(OVER)
    assert done.returncode == 0, done.stdout


def test_it_changes_the_gateways_that_are_there_and_adds_servers_alone() -> None:
    there = documents(DEPLOY / "compose.yaml")[0]["services"]
    over = content()["services"]
    gateways = {name for name in there if name.startswith("gateway")}
    engines = {name for name in there if name.startswith("engine")}
    assert set(over) - set(servers()) == gateways | engines
    for name in engines:  # not started: a profile is asked for by name
        assert over[name] == {"profiles": ["engines"]}
    for name in servers():
        assert name not in there


def test_every_gateway_asks_every_server_for_the_model_that_it_serves() -> None:
    for name, service in content()["services"].items():
        if not name.startswith("gateway"):
            continue
        said = service["environment"]
        settings = Settings.model_validate(
            {one.removeprefix(PREFIX).lower(): value for one, value in said.items()}
        )
        assert list(settings.servers) == [f"http://{one}:8000" for one in servers()]
        for server in servers().values():
            assert server["entrypoint"][2] == settings.model
            assert f"--served-model-name={settings.server_model}" in server["command"]
            flags = dict(one.split("=", 1) for one in server["command"] if "=" in one)
            assert int(flags["--max-cpu-loras"]) >= settings.server_adapters
            assert int(flags["--max-lora-rank"]) >= settings.max_rank
            assert server["environment"]["VLLM_API_KEY"] == said["GATEWAY_SERVER_KEY"]


def test_servers_load_adapters_at_run_time_from_where_the_gateways_have_them() -> None:
    dockerfile = (DEPLOY / "container/Dockerfile").read_text()
    (registry,) = re.findall(r"GATEWAY_REGISTRY=(\S+)", dockerfile)
    for name, server in servers().items():
        assert server["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
        targets = [volume.removesuffix(":ro").rsplit(":", 1)[1] for volume in server["volumes"]]
        assert registry in targets, name
        assert server["entrypoint"][2] in targets


def test_no_server_is_reached_from_outside_and_each_has_a_gpu_of_its_own() -> None:
    cards = []
    for server in servers().values():
        assert "ports" not in server
        (device,) = server["deploy"]["resources"]["reservations"]["devices"]
        cards += device["device_ids"]
    assert len(set(cards)) == len(servers())


def test_its_volumes_are_declared() -> None:
    for name, service in content()["services"].items():
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{[^}]*\}", "/x", volume).split(":")[0]
            assert source.startswith("/") or source in content()["volumes"], (name, volume)
