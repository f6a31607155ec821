"""The Kubernetes files: each object by Kubernetes' own schema, and all of them together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.routesfile.parse import parse
from gateway.settings import PREFIX, Settings
from tests.deploy.manifests import KUBERNETES, documents, kustomizations, resources

OBJECTS = list(resources())
VERSION = "1.31"


def label(found: tuple[Path, dict[str, Any]]) -> str:
    path, document = found
    return f"{path.parent.name}/{document['kind']}-{document['metadata']['name']}"


@pytest.mark.parametrize("found", OBJECTS, ids=label)
def test_an_object_is_what_kubernetes_takes(found: tuple[Path, dict[str, Any]]) -> None:
    kubernetes_validate.validate(found[1], VERSION, strict=True)


def test_the_schema_would_refuse_a_misspelt_key() -> None:
    wrong = next(document for _, document in OBJECTS if document["kind"] == "StatefulSet")
    wrong = yaml.safe_load(yaml.safe_dump(wrong))
    wrong["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("path", kustomizations(), ids=lambda path: path.parent.name)
def test_a_kustomization_names_what_is_there(path: Path) -> None:
    (content,) = documents(path)
    names = [*content["resources"]]
    for generator in content.get("configMapGenerator", []):
        names += generator["files"]
    for name in names:
        assert (path.parent / name).exists(), name
    for generator in content.get("secretGenerator", []):
        for name in generator["envs"]:
            assert (path.parent / f"{name}.example").is_file(), name


def test_a_patch_finds_its_object() -> None:
    there = {(document["kind"], document["metadata"]["name"]) for _, document in OBJECTS}
    for path in kustomizations():
        for patch in documents(path)[0].get("patches", []):
            assert (patch["target"]["kind"], patch["target"]["name"]) in there
            assert all(step["op"] in {"add", "replace", "remove"} for step in steps(patch))


def steps(patch: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(step) for step in yaml.safe_load(patch["patch"])]


def pods() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every workload with its pods' template."""
    for _, document in OBJECTS:
        if document["kind"] in {"StatefulSet", "Deployment"}:
            yield document, document["spec"]["template"]


def test_selectors_find_their_pods() -> None:
    labels = [template["metadata"]["labels"] for _, template in pods()]
    for workload, template in pods():
        wanted = workload["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= template["metadata"]["labels"].items()
    for _, document in OBJECTS:
        spec = document.get("spec", {})
        chosen = {
            "Service": lambda spec: spec["selector"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
        }.get(document["kind"])
        if chosen is not None:
            wanted = chosen(spec)
            assert any(wanted.items() <= has.items() for has in labels), document["metadata"]


def test_every_container_is_confined() -> None:
    for workload, template in pods():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, workload["metadata"]
        for container in spec["containers"]:
            confined = container["securityContext"]
            assert confined["readOnlyRootFilesystem"] is True
            assert confined["allowPrivilegeEscalation"] is False
            assert confined["capabilities"]["drop"] == ["ALL"]
            assert "memory" in container["resources"]["limits"]


def test_every_mount_has_its_volume() -> None:
    claims = {d["metadata"]["name"] for _, d in OBJECTS if d["kind"] == "PersistentVolumeClaim"}
    for workload, template in pods():
        made = {v["metadata"]["name"] for v in workload["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        for container in template["spec"]["containers"]:
            for mount in container.get("volumeMounts", []):
                assert mount["name"] in made | volumes.keys(), mount
        for volume in volumes.values():
            claim = volume.get("persistentVolumeClaim")
            assert claim is None or claim["claimName"] in claims


def patched(name: str) -> dict[str, Any]:
    """The gateways' StatefulSet as the overlay `name` makes it."""
    document: Any = next(
        d for _, d in OBJECTS if (d["kind"], d["metadata"]["name"]) == ("StatefulSet", "gateway")
    )
    document = yaml.safe_load(yaml.safe_dump(document))
    for patch in documents(KUBERNETES / f"overlays/{name}/kustomization.yaml")[0]["patches"]:
        for step in steps(patch):
            where: Any = document
            *path, last = [one.replace("~1", "/") for one in step["path"].split("/")[1:]]
            for one in path:
                where = where[int(one)] if isinstance(where, list) else where[one]
            if isinstance(where, list):
                assert (step["op"], last) == ("add", "-")
                where.append(step["value"])
            else:
                assert (last in where) == (step["op"] == "replace"), step["path"]
                where[last] = step["value"]
    return dict(document)


@pytest.mark.parametrize("name", ["cuda", "vllm"])
def test_a_patched_object_is_what_kubernetes_takes_with_a_volume_for_each_mount(name: str) -> None:
    document = patched(name)
    kubernetes_validate.validate(document, VERSION, strict=True)
    spec = document["spec"]["template"]["spec"]
    made = {claim["metadata"]["name"] for claim in document["spec"]["volumeClaimTemplates"]}
    made |= {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} <= made


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in container["env"]}


def test_the_gateways_over_vllm_name_every_server_and_share_its_paths_and_limits() -> None:
    (gateway,) = patched("vllm")["spec"]["template"]["spec"]["containers"]
    said = environment(gateway)
    servers: Any = next(
        d for _, d in OBJECTS if d["metadata"]["name"] == "vllm" and "replicas" in d["spec"]
    )
    (server,) = servers["spec"]["template"]["spec"]["containers"]
    settings = Settings.model_validate(
        {
            name.removeprefix(PREFIX).lower(): value
            for name, value in said.items()
            if value is not None
        }
    )
    assert list(settings.servers) == [
        f"http://vllm-{at}.{servers['spec']['serviceName']}:8000"
        for at in range(servers["spec"]["replicas"])
    ]
    assert settings.server_dialect == "vllm"
    assert settings.model == server["command"][2]
    assert f"--served-model-name={settings.server_model}" in server["args"]
    flags = dict(one.split("=", 1) for one in server["args"] if "=" in one)
    assert int(flags["--max-cpu-loras"]) >= settings.server_adapters
    assert int(flags["--max-lora-rank"]) >= settings.max_rank
    assert environment(server)["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    mounts = {mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}
    seen = {mount["name"]: mount["mountPath"] for mount in gateway["volumeMounts"]}
    for shared in ("registry", "models"):
        assert mounts[shared] == seen[shared]
    keys = [
        one["valueFrom"]["secretKeyRef"]
        for container, name in ((gateway, "GATEWAY_SERVER_KEY"), (server, "VLLM_API_KEY"))
        for one in container["env"]
        if one["name"] == name
    ]
    assert keys[0] == keys[1]


def test_only_gateways_reach_a_server() -> None:
    (policy,) = (
        d for _, d in OBJECTS if (d["kind"], d["metadata"]["name"]) == ("NetworkPolicy", "vllm")
    )
    (rule,) = policy["spec"]["ingress"]
    (source,) = rule["from"]
    assert source == {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}
    assert policy["spec"]["egress"] == []


def test_the_routing_table_is_one_that_the_gateway_takes() -> None:
    path = KUBERNETES / "base/routes.yaml"
    assert "chat" in parse(path.read_text(), str(path)).lines
