"""Constrained decoding by llguidance: a schema compiled once, a matcher per row."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from llguidance.torch import allocate_token_bitmask, fill_next_token_bitmask
from torch import Tensor

from gateway.errors import BadInput, EngineFault

_KEPT = 64
# One layout, as `json.dumps` writes it: free white space lets a model go on with it to the limit.
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Constraint:
    """One row's matcher. Owned by the engine thread."""

    def __init__(self, matcher: Any, width: int) -> None:
        self._matcher = matcher
        self._bitmask = allocate_token_bitmask(1, width)

    def mask(self, logits: Tensor) -> None:
        """Set the logits [vocab] of tokens the grammar does not allow next to -inf, in place."""
        fill_next_token_bitmask(self._matcher, self._bitmask, 0)
        # The library's own application is compiled on first use, which takes a C++ compiler and
        # seconds; unpacking the bits does the same in microseconds.
        bits = np.unpackbits(self._bitmask.numpy().view(np.uint8), bitorder="little")
        refused = torch.ones(logits.shape[0], dtype=torch.bool)
        count = min(len(bits), logits.shape[0])
        refused[:count] = torch.from_numpy(bits[:count] == 0)
        logits.masked_fill_(refused.to(logits.device), float("-inf"))

    def accept(self, token_id: int) -> None:
        """Move on by a token. Raises EngineFault where the grammar refuses it."""
        if not self._matcher.is_stopped() and not self._matcher.consume_token(token_id):
            raise EngineFault("constrained decoding lost its place in the grammar")


class CompiledConstraint:
    """A grammar, ready to start rows from."""

    def __init__(self, tokenizer: LLTokenizer, grammar: str, width: int) -> None:
        self._tokenizer = tokenizer
        self._grammar = grammar
        self._width = width
        self._matcher = LLMatcher(tokenizer, grammar)
        error = self._matcher.get_error()
        if error:
            raise BadInput(
                f"the JSON schema cannot be used for decoding: {error}", param="response_format"
            )

    def start(self) -> Constraint:
        return Constraint(self._matcher.deep_copy(), self._width)


class ConstraintFactory:
    """Compiles schemas for one tokenizer and keeps the latest. Safe from any thread."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        self._width = min(vocab_size, len(tokenizer))
        self._tokenizer = from_tokenizer(tokenizer, n_vocab=self._width)
        self._compiled: OrderedDict[str, CompiledConstraint] = OrderedDict()
        self._lock = threading.Lock()

    def compile(self, schema: Mapping[str, Any] | None) -> CompiledConstraint:
        """The grammar of a JSON schema, or of any JSON object for None. Raises BadInput."""
        # As it stands: the order of properties is the order they are generated in.
        key = json.dumps({"type": "object"} if schema is None else schema)
        with self._lock:
            known = self._compiled.get(key)
            if known is not None:
                self._compiled.move_to_end(key)
                return known
        try:
            grammar = LLMatcher.grammar_from_json_schema(key, defaults=_LAYOUT)
        except ValueError as error:
            raise BadInput(
                f"the JSON schema cannot be used for decoding: {error}", param="response_format"
            ) from None
        compiled = CompiledConstraint(self._tokenizer, grammar, self._width)
        with self._lock:
            self._compiled[key] = compiled
            while len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return compiled
