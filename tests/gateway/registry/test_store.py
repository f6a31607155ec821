"""Adapters are published whole, found by name, known by content, and never change."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import ones

from gateway.errors import AdapterRejected, BadInput, NotFound
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact, GateResult, GateVerdict
from gateway.routing.table import AdapterRef


def adapter(folder: Path, value: float = 1.0) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 8, "peft_type": "LORA"}')
    save_file({"x": ones(2) * value}, folder / "adapter_model.safetensors")
    return folder


def add(registry: Registry, folder: Path, ref: str) -> AdapterArtifact:
    return registry.add(
        folder, ref=AdapterRef.parse(ref), base_name="tiny", base_fingerprint="f" * 64
    )


def test_what_was_added_is_found_by_any_reader(tmp_path: Path) -> None:
    made = add(Registry(tmp_path / "r"), adapter(tmp_path / "a"), "t@1")
    assert Registry(tmp_path / "r").list() == [made]
    assert made.rank == 4


def test_a_name_cannot_get_other_content(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r")
    first = add(registry, adapter(tmp_path / "a"), "t@1")
    assert add(registry, tmp_path / "a", "t@1") == first
    with pytest.raises(BadInput, match="new version"):
        add(registry, adapter(tmp_path / "b", 2.0), "t@1")


def test_files_that_were_changed_are_not_served(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r")
    made = add(registry, adapter(tmp_path / "a"), "t@1")
    save_file({"x": ones(2) * 3}, made.path / "adapter_model.safetensors")
    with pytest.raises(AdapterRejected, match="digest"):
        registry.find(made.ref)


def test_a_link_is_no_adapter(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    real = (folder / "adapter_model.safetensors").rename(tmp_path / "elsewhere")
    (folder / "adapter_model.safetensors").symlink_to(real)
    with pytest.raises(AdapterRejected, match="not a regular file"):
        add(Registry(tmp_path / "r"), folder, "t@1")
    assert Registry(tmp_path / "r").list() == []


def test_a_wrong_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r")
    add(registry, adapter(tmp_path / "a"), "triage@1")
    with pytest.raises(NotFound, match="did you mean triage@1"):
        registry.get(AdapterRef.parse("triag@1"))


def test_a_manifest_with_an_unknown_field_is_named(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r")
    made = add(registry, adapter(tmp_path / "a"), "t@1")
    manifest = made.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"rank"', '"rnk"'))
    with pytest.raises(AdapterRejected, match="rank"):
        registry.find(made.ref)


def test_the_gates_verdict_is_published_with_the_adapter(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r")
    folder = adapter(tmp_path / "a")
    gate = GateResult(GateVerdict.UNDECIDED, "too few items", {"gain": 0.1, "held": 5})
    made = registry.add(
        folder,
        ref=AdapterRef.parse("t@1"),
        base_name="tiny",
        base_fingerprint="f" * 64,
        gate=gate,
    )
    assert made.gate == gate
    assert Registry(tmp_path / "r").get(made.ref).gate == gate


def test_an_adapter_made_elsewhere_has_no_gate(tmp_path: Path) -> None:
    made = add(Registry(tmp_path / "r"), adapter(tmp_path / "a"), "t@1")
    assert made.gate.verdict is GateVerdict.NONE


def test_a_verdict_that_is_none_is_refused(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r")
    made = add(registry, adapter(tmp_path / "a"), "t@1")
    manifest = made.path / "manifest.json"
    stated = '"gate": {"verdict": "fine", "reason": ""}'
    manifest.write_text(manifest.read_text().replace('"gate": null', stated))
    with pytest.raises(AdapterRejected, match=r"gate\.verdict"):
        registry.find(made.ref)


def test_the_catalogue_hashes_nothing_and_finds_what_is_cut_short(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r")
    whole = add(registry, adapter(tmp_path / "a"), "a@1")
    cut = add(registry, adapter(tmp_path / "b", 2.0), "b@1")
    weights = cut.path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    weights = whole.path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")  # of the same size
    found = Registry(tmp_path / "r").catalogue()
    assert found.artifacts == {whole.ref: whole}
    assert "publish it again" in found.damaged[cut.ref]


def test_the_catalogue_knows_what_was_found_damaged_until_it_is_mended(tmp_path: Path) -> None:
    made = add(Registry(tmp_path / "r"), adapter(tmp_path / "a"), "t@1")
    weights = made.path / "adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + b"x")
    registry = Registry(tmp_path / "r")
    with pytest.raises(AdapterRejected, match="digest"):
        registry.find(made.ref)
    assert "digest" in registry.catalogue().damaged[made.ref]
    weights.write_bytes(kept)
    assert registry.catalogue().artifacts == {made.ref: made}


def test_what_changes_after_it_was_hashed_is_hashed_again_at_a_look(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r")
    made = registry.get(add(registry, adapter(tmp_path / "a"), "t@1").ref)
    save_file({"x": ones(2) * 3}, made.path / "adapter_model.safetensors")
    assert "digest" in registry.catalogue().damaged[made.ref]


@pytest.mark.parametrize("folder", ["Upper/1", ".hidden/1", "a b/1", "ok/.publishing-x", "ok/-1"])
def test_a_folder_that_no_reference_can_name_hides_no_adapter(tmp_path: Path, folder: str) -> None:
    registry = Registry(tmp_path / "r")
    made = add(registry, adapter(tmp_path / "a"), "ok@1")
    odd = registry.root / folder
    odd.mkdir(parents=True)
    (odd / "manifest.json").write_text("{}")
    assert registry.refs() == [made.ref]
    assert registry.catalogue().artifacts == {made.ref: made}
