"""Small random models and adapters of several families, made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from gateway.model.fingerprint import fingerprint
from gateway.registry.store import Registry
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routing.table import AdapterRef

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3_text")
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_CORPUS = (
    "the quick brown fox jumps over the lazy dog",
    "a gateway sends each workflow to the adapter approved for it",
    'user assistant system 0123456789 {}[]":, éàü 日本語 🙂',
)
_CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE with ChatML tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def make_tiny_model(
    path: Path, family: str = "llama", seed: int = 0, *, head_dim: int = 16
) -> Path:
    """A random model of `family`, saved as a Hugging Face folder."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    config = AutoConfig.for_model(
        family,
        vocab_size=400,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=512,
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    if family.startswith("gemma"):
        config.sliding_window = 12
        config.layer_types = ["sliding_attention", "full_attention", "sliding_attention"]
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def make_tiny_adapter(
    path: Path,
    model_path: Path,
    *,
    rank: int = 8,
    alpha: float = 16,
    target_modules: tuple[str, ...] = ALL_LINEAR,
    use_rslora: bool = False,
    seed: int = 1,
) -> Path:
    """A random PEFT adapter that visibly changes what the model says."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=list(target_modules),
        use_rslora=use_rslora,
        task_type="CAUSAL_LM",
    )
    tuned = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.12)
    tuned.save_pretrained(path)
    return path


def publish(registry: Registry, folder: Path, ref: str, model_path: Path) -> AdapterArtifact:
    """Register `folder` for the model at `model_path`, approved."""
    return registry.add(
        folder,
        ref=AdapterRef.parse(ref),
        base_name="tiny",
        base_fingerprint=fingerprint(model_path),
        state=AdapterState.APPROVED,
    )
