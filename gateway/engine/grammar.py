"""JSON schemas as llguidance grammars, compiled once: what decoding can be held to.

No tensors here: the embedded engine masks logits by a grammar, the upstream engine only has to know
whether a schema can be one.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer

from gateway.errors import BadInput

_KEPT = 64
# One layout, as `json.dumps` writes it: free white space lets a model go on with it to the limit.
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Grammar:
    """One compiled schema. Raises BadInput where the library refuses it."""

    def __init__(self, tokenizer: LLTokenizer, text: str) -> None:
        self._matcher = LLMatcher(tokenizer, text)
        error = self._matcher.get_error()
        if error:
            raise BadInput(
                f"the JSON schema cannot be used for decoding: {error}", param="response_format"
            )

    def start(self) -> Any:
        """A matcher at the grammar's beginning."""
        return self._matcher.deep_copy()


class Grammars:
    """Compiles schemas for one tokenizer and keeps the latest. Safe from any thread."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        self.width = min(vocab_size, len(tokenizer))  # token ids that a grammar may allow
        self._tokenizer = from_tokenizer(tokenizer, n_vocab=self.width)
        self._compiled: OrderedDict[str, Grammar] = OrderedDict()
        self._lock = threading.Lock()

    def compile(self, schema: Mapping[str, Any] | None) -> Grammar:
        """The grammar of a JSON schema, or of any JSON object for None. Raises BadInput."""
        # As it stands: the order of properties is the order they are generated in.
        key = json.dumps({"type": "object"} if schema is None else schema)
        with self._lock:
            known = self._compiled.get(key)
            if known is not None:
                self._compiled.move_to_end(key)
                return known
        try:
            text = LLMatcher.grammar_from_json_schema(key, defaults=_LAYOUT)
        except ValueError as error:
            raise BadInput(
                f"the JSON schema cannot be used for decoding: {error}", param="response_format"
            ) from None
        compiled = Grammar(self._tokenizer, text)
        with self._lock:
            self._compiled[key] = compiled
            while len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return compiled
