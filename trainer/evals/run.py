"""Evaluate: every suite of every target, results per item, resumable.

The base comes first, since some checks compare with its answers. Then the candidates go item by
item together, so that one engine answers all of them in mixed batches. Each suite's results are
written as soon as it is done; a run that starts again takes up what is there.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.errors import GatewayError
from trainer.errors import EvaluationError
from trainer.evals.checks.base import Answered, Likelihood, Need, Observation, Reference
from trainer.evals.observe import needs_of, observe
from trainer.evals.progress import NoProgress, Progress
from trainer.evals.results import read_evaluation, write_evaluation
from trainer.evals.suite import Suite
from trainer.evals.targets.base import BASE, Target
from trainer.evals.values import Evaluation, Item, ItemResult, Split, SuiteResult
from trainer.folder import RunFolder

# Items begin in order and end about so, however many requests each takes: suites are done one
# after the other, and a kill loses little. Enough to fill any batch.
_ITEMS_IN_FLIGHT = 64


async def evaluate(
    suites: Sequence[Suite],
    split: Split,
    *,
    base: Target | None,
    candidates: Sequence[Target] = (),
    folder: RunFolder | None = None,
    progress: Progress | None = None,
) -> dict[str, Evaluation]:
    """Evaluations by model name, the base's first.

    `folder` keeps them; a suite result there is reused where suite, adapter and base are the same
    ones. Without a base no check may need one. Raises EvaluationError, GatewayError.
    """
    _judge(suites, split, base, candidates)
    shown = progress or NoProgress()
    references: dict[str, dict[str, Reference]] = {}
    done: dict[str, Evaluation] = {}
    if base is not None:
        done |= await _Pass(suites, split, [base], references, folder, shown, is_base=True).run()
        references = {result.suite: _references(result) for result in done[base.name].suites}
    if candidates:
        done |= await _Pass(suites, split, candidates, references, folder, shown).run()
    return done


def _judge(
    suites: Sequence[Suite], split: Split, base: Target | None, candidates: Sequence[Target]
) -> None:
    names = [target.name for target in (*([base] if base else ()), *candidates)]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise EvaluationError(f"{', '.join(doubled)} named twice; give each model its own name")
    for suite in suites:
        if not suite.part(split):
            raise EvaluationError(
                f"suite {suite.name} has no item in the {split} part; it needs more items"
            )
        if base is None and Need.REFERENCE in needs_of(suite):
            raise EvaluationError(
                f"suite {suite.name} compares with the base's answers: evaluate the base too"
            )


class _Pass:
    """Some targets through all suites, together. One event loop; used once."""

    def __init__(
        self,
        suites: Sequence[Suite],
        split: Split,
        targets: Sequence[Target],
        references: dict[str, dict[str, Reference]],
        folder: RunFolder | None,
        progress: Progress,
        *,
        is_base: bool = False,
    ) -> None:
        self._suites = suites
        self._split = split
        self._targets = targets
        self._references = references
        self._folder = folder
        self._progress = progress
        self._is_base = is_base
        self._done: dict[str, Evaluation] = {}
        self._room = asyncio.Semaphore(_ITEMS_IN_FLIGHT)

    async def run(self) -> dict[str, Evaluation]:
        for target in self._targets:
            self._done[target.name] = self._stored(target)
        todo = [
            (suite, [t for t in self._targets if not self._has(t, suite)]) for suite in self._suites
        ]
        asks = sum(len(suite.part(self._split)) * len(targets) for suite, targets in todo)
        self._progress.start(asks, [target.name for target in self._targets])
        before = time.monotonic()
        # All suites are queued at once, so that the engine's batch is full across their borders.
        waiting = [
            (suite, targets, self._ask_all(suite, targets)) for suite, targets in todo if targets
        ]
        tasks = [task for _, _, asked in waiting for row in asked for task in row]
        try:
            for suite, targets, asked in waiting:
                seen = [await _all_or_first_failure(row) for row in asked]
                now = time.monotonic()
                for target, mine in zip(targets, seen, strict=True):
                    self._keep(target, suite_result(suite, mine), (now - before) / len(targets))
                before = now
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._progress.end()
        order = {suite.name: i for i, suite in enumerate(self._suites)}
        return {
            name: replace(
                each, suites=tuple(sorted(each.suites, key=lambda result: order[result.suite]))
            )
            for name, each in self._done.items()
        }

    def _ask_all(
        self, suite: Suite, targets: Sequence[Target]
    ) -> list[list[asyncio.Task[Observation]]]:
        """A task for each item of each target, started item by item across the targets."""
        rows: list[list[asyncio.Task[Observation]]] = [[] for _ in targets]
        for item in suite.part(self._split):
            for target, row in zip(targets, rows, strict=True):
                row.append(asyncio.create_task(self._ask(target, suite, item)))
        return rows

    async def _ask(self, target: Target, suite: Suite, item: Item) -> Observation:
        reference = self._references.get(suite.name, {}).get(item.id)
        try:
            async with self._room:
                seen = await observe(target, suite, item, reference, is_base=self._is_base)
        except GatewayError as error:
            raise EvaluationError(
                f"{target.name}: suite {suite.name}, item {item.id}: {error}"
            ) from error
        self._progress.advance(1)
        return seen

    def _stored(self, target: Target) -> Evaluation:
        """What the folder holds of this very target and these very suites."""
        nothing = Evaluation(
            model=target.name,
            split=self._split,
            suites=(),
            base_fingerprint=target.base_fingerprint,
            adapter_digest=target.adapter_digest,
            seconds=0.0,
        )
        if self._folder is None:
            return nothing
        try:
            found = read_evaluation(self._folder.evaluation(self._split, target.name))
        except (FileNotFoundError, EvaluationError):
            return nothing  # a file that cannot be read is made again
        same = replace(found, suites=(), seconds=0.0) == nothing
        # A live workflow may be re-routed between two runs: it has no digest to know it by.
        if not same or (target.adapter_digest is None and target.name != BASE):
            return nothing
        digests = {suite.name: suite.digest for suite in self._suites}
        kept = tuple(s for s in found.suites if digests.get(s.suite) == s.digest)
        return replace(found, suites=kept)

    def _has(self, target: Target, suite: Suite) -> bool:
        return any(each.suite == suite.name for each in self._done[target.name].suites)

    def _keep(self, target: Target, result: SuiteResult, seconds: float) -> None:
        old = self._done[target.name]
        new = replace(old, suites=(*old.suites, result), seconds=old.seconds + seconds)
        self._done[target.name] = new
        if self._folder is not None:
            write_evaluation(self._folder.evaluation(self._split, target.name), new)
        self._progress.suite_done(target.name, result)


async def _all_or_first_failure(tasks: Sequence[asyncio.Task[Observation]]) -> list[Observation]:
    """Every result, in order; the first failure is raised at once."""
    return list(await asyncio.gather(*tasks))


def suite_result(suite: Suite, seen: Sequence[Observation]) -> SuiteResult:
    """Score what was seen. Raises EvaluationError where a score is not finite."""
    scores = [check.scores(seen) for check in suite.checks]
    items = []
    for i, each in enumerate(seen):
        mine = {check.name: scores[c][i] for c, check in enumerate(suite.checks)}
        broken = [name for name, score in mine.items() if not math.isfinite(score)]
        if broken:
            raise EvaluationError(
                f"suite {suite.name}, item {each.item.id}: {broken[0]} is {mine[broken[0]]}; "
                "the model's probabilities overflow"
            )
        answer = each.answer or Answered("", "")
        items.append(ItemResult(each.item.id, mine, answer.text, answer.finish, _detail(each)))
    figures = {check.name: dict(check.figures(seen)) for check in suite.checks}
    return SuiteResult(
        suite=suite.name,
        digest=suite.digest,
        measures=suite.measures,
        items=tuple(items),
        figures={name: each for name, each in figures.items() if each},
    )


def _detail(seen: Observation) -> dict[str, Any]:
    """What a later run needs to compare with, and a reader to understand the score."""
    detail: dict[str, Any] = {}
    if seen.choices:
        detail["choices"] = [round(likelihood.total, 4) for likelihood in seen.choices]
    if seen.on_reference is not None:
        detail["logprobs"] = [round(value, 5) for value in seen.on_reference.logprobs]
    return detail


def _references(result: SuiteResult) -> dict[str, Reference]:
    """The base's answers, from its stored results."""
    found = {}
    for item in result.items:
        logprobs = item.detail.get("logprobs")
        likelihood = None if logprobs is None else Likelihood(tuple(logprobs))
        found[item.id] = Reference(Answered(item.answer, item.finish), likelihood)
    return found
