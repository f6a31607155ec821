"""Constrained decoding: a mask on the logits for each row, by its place in a grammar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from llguidance.torch import allocate_token_bitmask, fill_next_token_bitmask
from torch import Tensor

from gateway.engine.grammar import Grammar, Grammars
from gateway.errors import EngineFault


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

    def __init__(self, grammar: Grammar, width: int) -> None:
        self._grammar = grammar
        self._width = width

    def start(self) -> Constraint:
        return Constraint(self._grammar.start(), self._width)


class ConstraintFactory:
    """Constraints for one tokenizer. Safe from any thread."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        self._grammars = Grammars(tokenizer, vocab_size)

    def compile(self, schema: Mapping[str, Any] | None) -> CompiledConstraint:
        """Of a JSON schema, or of any JSON object for None. Raises BadInput."""
        return CompiledConstraint(self._grammars.compile(schema), self._grammars.width)
