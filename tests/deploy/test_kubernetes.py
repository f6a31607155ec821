"""The Kubernetes files: each object by Kubernetes' own schema, and all of them together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.routesfile.parse import parse
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


def test_the_routing_table_is_one_that_the_gateway_takes() -> None:
    path = KUBERNETES / "base/routes.yaml"
    assert "chat" in parse(path.read_text(), str(path)).lines
