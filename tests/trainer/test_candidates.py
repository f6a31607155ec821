"""What a candidate serves is what its name says: a checkpoint turned down, or a mean of updates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.tiny import make_tiny_adapter, make_tiny_model
from trainer.candidates import Candidate, Plan, average_factors, make, plan, read_candidate
from trainer.errors import TrainerError

Update = dict[str, Tensor]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=[False, True], ids=["lora", "rslora"])
def checkpoints(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: Path
) -> dict[int, Path]:
    """Two random checkpoints of rank 4."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        step: make_tiny_adapter(
            root / str(step), model, rank=4, alpha=8, use_rslora=request.param, seed=step
        )
        for step in (25, 50)
    }


def served_update(model: Path, adapter: Path) -> Update:
    """What PEFT adds to each weight when it merges `adapter`."""
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    after = merged.state_dict()
    changed = {k: after[k] - before[k] for k in before if not torch.equal(after[k], before[k])}
    assert changed
    return changed


def distance(one: Update, other: Update) -> float:
    """The Frobenius distance of two updates, relative to the second."""
    assert one.keys() == other.keys()
    apart = sum(float(((one[k] - other[k]) ** 2).sum()) for k in one)
    return float((apart / sum(float((v**2).sum()) for v in other.values())) ** 0.5)


def test_every_checkpoint_and_pair_of_neighbours_is_planned_at_every_strength() -> None:
    plans = plan([50, 25, 75], [1.0, 0.5], averages=True)
    assert [p.name for p in plans] == [
        "step-00025@1",
        "step-00025@0.5",
        "step-00050@1",
        "step-00050@0.5",
        "step-00075@1",
        "step-00075@0.5",
        "mean-00025-00050@1",
        "mean-00025-00050@0.5",
        "mean-00050-00075@1",
        "mean-00050-00075@0.5",
    ]
    assert len(plan([25, 50], [1.0], averages=False)) == 2


@pytest.mark.parametrize("strength", [0.0, -0.5, 1.5])
def test_a_strength_that_is_none_is_refused(strength: float) -> None:
    with pytest.raises(TrainerError, match=r"choice\.strengths"):
        plan([1], [strength], averages=False)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_weaker_candidate_serves_that_share_of_the_update(
    tmp_path: Path, model: Path, checkpoints: dict[int, Path], strength: float
) -> None:
    candidate = make(Plan((50,), strength), checkpoints, tmp_path / "c")
    expected = {k: v * strength for k, v in served_update(model, checkpoints[50]).items()}
    served = served_update(model, tmp_path / "c")
    assert distance(served, expected) < 0.005  # bfloat16
    norm = sum(float((v**2).sum()) for v in served.values()) ** 0.5
    assert candidate.update_norm == pytest.approx(norm, rel=1e-3)
    assert candidate.lost_energy == 0


def test_an_average_serves_the_best_low_rank_mean_of_the_updates(
    tmp_path: Path, model: Path, checkpoints: dict[int, Path]
) -> None:
    candidate = make(Plan((25, 50), 1.0), checkpoints, tmp_path / "c")
    one, other = (served_update(model, path) for path in checkpoints.values())
    mean = {k: (one[k] + other[k]) / 2 for k in one}
    best: Update = {}
    for name, matrix in mean.items():
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        best[name] = (u[:, :4] * s[:4]) @ v[:4]
    assert distance(served_update(model, tmp_path / "c"), best) < 0.01
    cut = distance(best, mean) ** 2
    assert candidate.lost_energy == pytest.approx(cut, rel=0.01)
    assert candidate.rank == 4


def test_the_mean_of_neighbours_that_share_a_subspace_loses_nothing() -> None:
    random = torch.Generator().manual_seed(0)
    a = torch.randn(4, 20, generator=random)
    one, other = (torch.randn(12, 4, generator=random) for _ in range(2))
    new_a, new_b, lost = average_factors([(2.0, a, one), (2.0, a, other)], 4)
    assert torch.allclose(new_b @ new_a, one @ a + other @ a, atol=1e-4)
    assert lost == pytest.approx(0, abs=1e-10)


def test_a_layer_narrower_than_the_rank_keeps_its_rank() -> None:
    a, b = torch.randn(4, 20), torch.randn(2, 4)
    new_a, new_b, lost = average_factors([(1.0, a, b), (1.0, a, b)], 4)
    assert (new_a.shape, new_b.shape) == ((4, 20), (2, 4))
    assert torch.allclose(new_b @ new_a, b @ a, atol=1e-4)
    assert lost == pytest.approx(0, abs=1e-10)


def test_weights_are_bfloat16_and_a_made_candidate_is_kept(
    tmp_path: Path, checkpoints: dict[int, Path]
) -> None:
    first = make(Plan((25, 50), 0.75), checkpoints, tmp_path / "c")
    tensors = load_file(tmp_path / "c" / "adapter_model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}
    assert make(Plan((25, 50), 0.75), {}, tmp_path / "c") == first
    assert read_candidate(tmp_path / "c") == first
    assert isinstance(first, Candidate)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_what_is_no_plain_lora_is_refused(tmp_path: Path, checkpoints: dict[int, Path]) -> None:
    odd = tmp_path / "odd"
    odd.mkdir()
    config = json.loads((checkpoints[25] / "adapter_config.json").read_text())
    tensors = load_file(checkpoints[25] / "adapter_model.safetensors")

    def write(**change: object) -> None:
        (odd / "adapter_config.json").write_text(json.dumps({**config, **change}))

    save_file(tensors, odd / "adapter_model.safetensors")
    write(alpha_pattern={"q_proj": 4})
    with pytest.raises(TrainerError, match="alpha_pattern"):
        make(Plan((1,), 1.0), {1: odd}, tmp_path / "c")
    write()
    save_file({**tensors, "lm_head.weight": torch.ones(2)}, odd / "adapter_model.safetensors")
    with pytest.raises(TrainerError, match="lm_head"):
        make(Plan((1,), 1.0), {1: odd}, tmp_path / "c")
    with pytest.raises(TrainerError, match="cannot be read"):
        make(Plan((1,), 1.0), {1: tmp_path / "none"}, tmp_path / "c")
    assert not (tmp_path / "c").exists()
