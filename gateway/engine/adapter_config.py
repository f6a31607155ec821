"""What every engine asks of an adapter: a plain LoRA, by its configuration, for this base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.errors import AdapterRejected
from gateway.registry.values import AdapterArtifact

# Settings that change nothing about how a saved LoRA is applied.
_HARMLESS = {
    "arrow_config",
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "alpha_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "use_rslora",
}
# Initialisations that rewrite the base weights: such an adapter belongs to another base.
_BASE_CHANGING_INIT = {"pissa", "olora", "loftq", "corda", "lora_ga"}


def refusal(name: str, message: str) -> AdapterRejected:
    """The refusal of the adapter called `name`."""
    return AdapterRejected(f"adapter {name}: {message}", adapter=name)


def require_base(artifact: AdapterArtifact, fingerprint: str) -> None:
    """Raises AdapterRejected for an adapter of another base model than that with `fingerprint`."""
    if artifact.base_fingerprint != fingerprint:
        raise refusal(
            str(artifact.ref),
            f"was trained on base {artifact.base_fingerprint[:12]} ({artifact.base_name}), this "
            f"engine runs {fingerprint[:12]}; serve that base or train the adapter again",
        )


def check_features(config: Mapping[str, Any], name: str) -> None:
    """Raises AdapterRejected for what is no plain LoRA."""
    if config.get("peft_type") != "LORA":
        raise refusal(
            name, f"peft_type is {config.get('peft_type')!r}; this engine holds LORA adapters"
        )
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower().split("_niter")[0] in _BASE_CHANGING_INIT:
        raise refusal(
            name,
            f"init_lora_weights is {init!r}, which changes the base weights; convert it to a plain "
            "LoRA when saving (peft: path_initial_model_for_weight_conversion)",
        )
    for key, value in config.items():
        if key in _HARMLESS or not value or (key == "bias" and value == "none"):
            continue
        raise refusal(
            name,
            f"uses {key} = {value!r}, which this engine does not support; "
            "train a plain LoRA (no DoRA, bias or modules_to_save)",
        )
