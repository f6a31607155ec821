"""Whether servers can be expected to hold an adapter: by its files, without its weights' values.

The shapes of the base model are the server's to know; it refuses at the load what does not fit.
"""

from __future__ import annotations

from safetensors import SafetensorError, safe_open

from gateway.engine.adapter_config import check_features, refusal, require_base
from gateway.registry.content import CONFIG, WEIGHTS, adapter_digest, check_files, read_config
from gateway.registry.values import AdapterArtifact


def check_adapter(adapter: AdapterArtifact, *, base_fingerprint: str, max_rank: int) -> None:
    """Raises AdapterRejected saying what does not fit and what would. Blocks (disk)."""
    name = str(adapter.ref)
    require_base(adapter, base_fingerprint)
    check_files(adapter.path, name)
    check_features(read_config(adapter.path, name), name)
    try:
        found = adapter_digest(adapter.path, name)
        with safe_open(adapter.path / WEIGHTS, framework="numpy") as tensors:
            shapes = {key: tensors.get_slice(key).get_shape() for key in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise refusal(name, f"{WEIGHTS} cannot be read: {error}") from None
    ranks = [shape[0] for key, shape in shapes.items() if ".lora_A." in key and shape]
    if not ranks:
        raise refusal(name, f"{WEIGHTS} holds no LoRA weights")
    if max(ranks) > max_rank:
        raise refusal(
            name,
            f"has rank {max(ranks)}, over the servers' maximum of {max_rank}; start them and this "
            f"gateway with a larger one, or train a smaller one",
        )
    if found != adapter.digest:
        raise refusal(
            name,
            f"its files are not those that were published (digest {found[:12]}, published "
            f"{adapter.digest[:12]}: see {CONFIG}); put them back, or publish a new version",
        )
