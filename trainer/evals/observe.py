"""Ask one target everything that one item's checks need."""

from __future__ import annotations

import asyncio

from trainer.evals.checks.base import Likelihood, Need, Observation, Reference
from trainer.evals.suite import Suite
from trainer.evals.targets.base import Context, Target
from trainer.evals.values import Item


def needs_of(suite: Suite) -> frozenset[Need]:
    """What the suite's checks need together."""
    return frozenset().union(*(check.needs for check in suite.checks))


async def observe(
    target: Target, suite: Suite, item: Item, reference: Reference | None, *, is_base: bool
) -> Observation:
    """What `target` makes of `item`. The base makes its reference itself."""
    needs = needs_of(suite)
    context = Context(item.messages, item.prompt)
    answer = None
    if Need.ANSWER in needs or (is_base and Need.REFERENCE in needs):
        answer = await target.answer(context, suite.generation)
    choices: list[Likelihood] = []
    if Need.CHOICES in needs:
        scored = (target.score(context, choice) for choice in item.choices)
        choices = list(await asyncio.gather(*scored))
    text = await target.score(Context(), item.text) if Need.TEXT in needs else None
    if is_base and answer is not None and Need.REFERENCE in needs:
        reference = Reference(answer)
    on_reference = None
    if Need.REFERENCE_LIKELIHOOD in needs and reference is not None:
        on_reference = await target.score(context, reference.answer.text)
        if is_base:
            reference = Reference(reference.answer, on_reference)
    return Observation(
        item=item,
        answer=answer,
        choices=tuple(choices),
        text=text,
        reference=reference,
        on_reference=on_reference,
    )
