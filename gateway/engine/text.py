"""The base model's tokenizer and chat template, as the engine's `TextCodec`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer

from gateway.errors import BadInput


class HuggingFaceText:
    """Tokenizer and template of a model folder. Raises BadInput where it has no fast tokenizer."""

    def __init__(self, path: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(path)
        if not self.tokenizer.is_fast:
            raise BadInput(f"{path} has no fast tokenizer (tokenizer.json); convert it once")
        # Asked directly: the way through transformers takes a third more for a short text.
        self._backend: Any = self.tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self.eos_ids = self._eos_ids(path)
        self.architecture = _architecture(path)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, with the special tokens a bare prompt gets."""
        return self._ids(text, special=True)

    def encode_chat(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Token ids of a conversation, ready for the answer. Raises BadInput (`messages`)."""
        if self.tokenizer.chat_template is None:
            raise BadInput("this model has no chat template; use /v1/completions", param="messages")
        try:
            # The template writes its own special tokens: encoding must not add them again.
            text = self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError, KeyError) as error:
            raise BadInput(f"the chat template refuses it: {error}", param="messages") from None
        return self._ids(text, special=False)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of `token_ids`, special tokens left out."""
        text: str = self.tokenizer.decode(
            list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def decode_all(self, token_ids: Sequence[int]) -> str:
        """Text of `token_ids`, special tokens as they are written."""
        text: str = self.tokenizer.decode(
            list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _ids(self, text: str, *, special: bool) -> list[int]:
        (found,) = self._backend.encode_batch_fast([text], add_special_tokens=special)
        ids: list[int] = found.ids
        return ids

    def _eos_ids(self, path: Path) -> frozenset[int]:
        """Every token that ends an answer, by tokenizer, config and generation config."""
        found: set[int] = set()
        if self.tokenizer.eos_token_id is not None:
            found.add(self.tokenizer.eos_token_id)
        for name in ("config.json", "generation_config.json"):
            if (path / name).is_file():
                value = json.loads((path / name).read_text(encoding="utf-8")).get("eos_token_id")
                found.update(value if isinstance(value, list) else [value] if value else [])
        return frozenset(found)


def _architecture(path: Path) -> str:
    """What the model's config calls its kind; empty where it says nothing."""
    config = path / "config.json"
    if not config.is_file():
        return ""
    named = json.loads(config.read_text(encoding="utf-8")).get("architectures") or [""]
    return str(named[0])
