"""What the engine will not hold, each with its reason, and nothing stays behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gateway.errors import AdapterRejected, GatewayError
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact
from tests import tiny
from tests.gateway.engine.test_mixed_batches import alone, make_engine, tokens_of


def _config(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


def _tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return edit


def _first(tensors: dict[str, torch.Tensor]) -> str:
    return sorted(tensors)[0]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_config(use_dora=True), "use_dora"),
        (_config(bias="all"), "bias"),
        (_config(modules_to_save=["lm_head"]), "modules_to_save"),
        (_config(peft_type="IA3"), "IA3"),
        (_config(init_lora_weights="pissa"), "pissa"),
        (_tensors(lambda t: t[_first(t)].fill_(float("nan"))), "not finite"),
        (_tensors(lambda t: t.pop(_first(t))), "without its other half"),
        (_tensors(lambda t: t.update({"what.weight": torch.zeros(1)})), "what.weight"),
        (
            _tensors(lambda t: t.update({_first(t): torch.zeros(8, 5)})),
            "updates a layer of 5",
        ),
        (lambda folder: (folder / "extra.bin").write_bytes(b"\x80"), "never pickle"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    model = tiny.make_tiny_model(tmp_path / "model")
    folder = tiny.make_tiny_adapter(tmp_path / "adapter", model)
    artifact = tiny.publish(Registry(tmp_path / "registry"), folder, "a@1", model)
    spoil(artifact.path)
    engine = make_engine(model)
    with pytest.raises(AdapterRejected, match=said) as caught:
        engine.check_adapter(artifact)
    assert "a@1" in caught.value.message


async def test_a_failed_load_fails_its_request_and_poisons_nothing(tmp_path: Path) -> None:
    model = tiny.make_tiny_model(tmp_path / "model")
    folder = tiny.make_tiny_adapter(tmp_path / "adapter", model)
    artifact = tiny.publish(Registry(tmp_path / "registry"), folder, "a@1", model)
    weights = artifact.path / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    engine = make_engine(model)
    try:
        with pytest.raises(GatewayError):
            await tokens_of(engine, (5, 6), artifact, 4)
        weights.write_bytes(whole)
        assert await tokens_of(engine, (5, 6), artifact, 4) == alone(model, artifact, (5, 6), 4)
        assert engine.stats().adapter_load_failures == 1
    finally:
        await engine.close()


def test_another_base_and_too_large_a_rank_are_refused(tmp_path: Path) -> None:
    model = tiny.make_tiny_model(tmp_path / "model")
    registry = Registry(tmp_path / "registry")
    big: AdapterArtifact = tiny.publish(
        registry, tiny.make_tiny_adapter(tmp_path / "big", model, rank=32), "big@1", model
    )
    engine = make_engine(model)
    with pytest.raises(AdapterRejected, match="--max-rank 32"):
        engine.check_adapter(big)
    with pytest.raises(AdapterRejected, match="trained on base 0000"):
        engine.check_adapter(replace(big, base_fingerprint="0" * 64))
