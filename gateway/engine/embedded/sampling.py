"""Logits to tokens: greedy in one call for the whole batch, the rest only for rows that ask."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gateway.engine.base import SamplingParams
from gateway.engine.embedded.constraint import Constraint
from gateway.errors import EngineFault


@dataclass(frozen=True, slots=True)
class Sampled:
    """A chosen token. Log-probabilities are the model's own (before temperature, penalties and
    constraints), natural, from float32."""

    token_id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class RowSampler:
    """One row's choice of tokens: its random source, penalty counts and constraint.

    The random source is the row's own: the same seed and prompt draw the same tokens whatever
    other rows the batch holds. Choices of one request draw from different seeds.
    """

    def __init__(
        self, params: SamplingParams, *, choice: int = 0, constraint: Constraint | None = None
    ) -> None:
        self.params = params
        self.constraint = constraint
        self._counts: Counter[int] = Counter()
        self._penalised = bool(params.frequency_penalty or params.presence_penalty)
        self._random = torch.Generator()
        seed = secrets.randbits(62) if params.seed is None else params.seed + choice * 0x9E3779B1
        self._random.manual_seed(seed % (1 << 63))
        # Nothing but the largest logit decides and nothing is reported: the batch's fast path.
        self.is_plain = (
            params.temperature == 0
            and not self._penalised
            and constraint is None
            and params.logprobs is None
        )

    def choose(self, logits: Tensor) -> Sampled:
        """One token from this row's logits [vocab]; they may be changed in place."""
        logits = logits.float()
        reported = None if self.params.logprobs is None else torch.log_softmax(logits, dim=-1)
        if self._penalised:
            logits = self._penalise(logits)
        if self.constraint is not None:
            self.constraint.mask(logits)
        token = self._draw(logits)
        if self.constraint is not None:
            self.constraint.accept(token)
        if self._penalised:
            self._counts[token] += 1
        if reported is None:
            return Sampled(token)
        return Sampled(token, float(reported[token]), _top(reported, self.params.logprobs or 0))

    def _penalise(self, logits: Tensor) -> Tensor:
        """Subtract frequency x count + presence for each generated token (OpenAI's definition)."""
        logits = logits.clone()
        for token, count in self._counts.items():
            logits[token] -= self.params.frequency_penalty * count + self.params.presence_penalty
        return logits

    def _draw(self, logits: Tensor) -> int:
        if self.params.temperature == 0:
            best = logits.max(dim=-1)
            if not bool(torch.isfinite(best.values)):
                raise EngineFault("the model gave logits that are not finite")
            return int(best.indices)
        weights = torch.softmax(logits / self.params.temperature, dim=-1).cpu()
        if not bool(torch.isfinite(weights).all()):
            raise EngineFault("the model gave logits that are not finite")
        if self.params.top_p < 1:
            weights = _nucleus(weights, self.params.top_p)
        return int(torch.multinomial(weights, 1, generator=self._random))


def sample(logits: Tensor, rows: Sequence[RowSampler]) -> list[Sampled]:
    """A token for each row of logits [rows, vocab], which may be changed in place."""
    best = logits.max(dim=-1)
    if not bool(torch.isfinite(best.values).all()):
        raise EngineFault("the model gave logits that are not finite")
    greedy: list[int] = best.indices.tolist()
    return [
        Sampled(token) if row.is_plain else row.choose(logits[index])
        for index, (row, token) in enumerate(zip(rows, greedy, strict=True))
    ]


def prompt_logprobs(
    logits: Tensor, targets: Sequence[int], count: int
) -> list[tuple[float, tuple[tuple[int, float], ...]]]:
    """For each of logits [tokens, vocab]: the log-probability of its target, and the `count`
    best tokens with theirs."""
    scores = torch.log_softmax(logits.float(), dim=-1)
    wanted = torch.tensor(targets, device=scores.device).unsqueeze(1)
    chosen: list[float] = scores.gather(1, wanted).squeeze(1).tolist()
    return [(value, _top(row, count)) for value, row in zip(chosen, scores, strict=True)]


def _top(scores: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    if count == 0:
        return ()
    values, indices = scores.topk(count)
    return tuple(zip(indices.tolist(), values.tolist(), strict=True))


def _nucleus(weights: Tensor, top_p: float) -> Tensor:
    """The smallest set of likeliest tokens that holds `top_p` (Holtzman and others, 2020)."""
    ordered, indices = weights.sort(descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    ordered[before >= top_p] = 0
    return torch.zeros_like(weights).scatter_(0, indices, ordered)
