"""A whole run: train, evaluate, choose, judge, report.

Checkpoints are evaluated on the select split while training goes on, and stop it when they no
longer get better; then reduced strengths and averages of the most promising ones are tried; the
choice alone is judged, on the gate split, which nothing was chosen by. Each step leaves a file in
the run's folder: a run that was killed goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from accelerate import PartialState

from gateway.model.source import ModelFiles
from trainer import candidates
from trainer.candidates import Plan
from trainer.choice import (
    CandidateScore,
    Choice,
    choice_to_json,
    choose,
    early_stop,
    primary_target,
    score_candidate,
)
from trainer.data.checks import SuiteText
from trainer.errors import TrainerError
from trainer.evals.apart import Asked, evaluate_apart
from trainer.evals.suite import read_suites, texts_for_leaks
from trainer.evals.targets.base import BASE
from trainer.evals.values import Evaluation, Measure, Split
from trainer.folder import RunFolder
from trainer.gate.codec import verdict_to_json
from trainer.gate.judge import judge
from trainer.gate.pairing import pair
from trainer.gate.values import GateRule, GateVerdict
from trainer.recipe import Recipe
from trainer.training.run import train
from trainer.whole_files import copy_folder, write_text

log = logging.getLogger(__name__)


def gate_rule(recipe: Recipe) -> GateRule:
    """How the recipe wants to be judged."""
    return GateRule(
        alpha=recipe.gate.alpha,
        min_gain=recipe.gate.min_gain,
        seed=recipe.seed,
        margins=dict(recipe.gate.margins),
    )


def further(plans: Sequence[Plan], gains: Mapping[int, float], limit: int) -> list[Plan]:
    """Of all that could be made from checkpoints, the `limit` most promising ones that were not
    evaluated as trained.

    `gains` are the target gains of the checkpoints by step. The peak often breaks a guardrail and
    keeps most of its gain at less strength, so its reductions come first; reduced averages, which
    say least that is new, come last.
    """

    def order(plan: Plan) -> tuple[bool, float, int, float]:
        average = len(plan.steps) > 1
        promise = max(gains[step] for step in plan.steps)
        return (average and plan.strength < 1, -promise, len(plan.steps), -plan.strength)

    rest = [plan for plan in plans if len(plan.steps) > 1 or plan.strength < 1]
    return sorted(rest, key=order)[:limit]


class Run:
    """One run in progress. Used once."""

    def __init__(
        self,
        recipe: Recipe,
        model: ModelFiles,
        folder: RunFolder,
        *,
        show: bool = False,
    ) -> None:
        """`show` has the evaluations print how far they are. Raises SuiteError for suites that
        cannot be used."""
        self._recipe = recipe
        self._model = model
        self._folder = folder
        self._show = show
        self._rule = gate_rule(recipe)
        self._suite_names = (str(recipe.suites.target), *recipe.suites.guardrails)
        self._suites = read_suites(self._suite_names)
        self._trained: dict[int, CandidateScore] = {}  # checkpoints at full strength, by step
        self._others: list[CandidateScore] = []
        self._target: Measure | None = None

    def execute(self) -> GateVerdict | None:
        """The whole run; None on processes that only help to train.

        Raises what `train` and `evaluate` raise, and TrainerError.
        """
        train(
            self._recipe,
            self._model,
            self._folder,
            leak_texts=[
                SuiteText(suite.name, item, text)
                for suite in self._suites
                for item, text in texts_for_leaks(suite)
            ],
            on_checkpoint=self._evaluate_checkpoint,
        )
        if not PartialState().is_main_process:
            return None
        self._evaluate_further()
        return self._judge(self._choose())

    def _evaluate_checkpoint(self, step: int, adapter: Path) -> bool:
        """Evaluate a checkpoint as it was trained; whether to stop."""
        (score,) = self._evaluate_on_select([Plan((step,), 1.0)], {step: adapter})
        self._trained[step] = score
        log.info(
            "step %s: target %+.3f; the worst guardrail, %s, is at %+.2f of its margin",
            step,
            score.gain,
            score.worst.measure,
            score.worst.in_margins,
        )
        history = [self._trained[s] for s in sorted(self._trained)]
        stop = early_stop(history, self._recipe.checkpoints.patience)
        if stop:
            log.info("the last checkpoints were no better: training ends at step %s", step)
        return stop

    def _evaluate_further(self) -> None:
        choice = self._recipe.choice
        steps = sorted(self._trained)
        plans = further(
            candidates.plan(steps, choice.strengths, averages=choice.averages),
            {step: score.gain for step, score in self._trained.items()},
            choice.more,
        )
        if plans:
            log.info("trying %s", ", ".join(plan.name for plan in plans))
            adapters = {step: self._folder.checkpoint(step) / "adapter" for step in steps}
            self._others = self._evaluate_on_select(plans, adapters)

    def _evaluate_on_select(
        self, plans: Sequence[Plan], adapters: Mapping[int, Path]
    ) -> list[CandidateScore]:
        made = [candidates.make(p, adapters, self._folder.candidate(p.name)) for p in plans]
        found = self._evaluate(Split.SELECT, [candidate.name for candidate in made])
        scores = []
        for candidate in made:
            pairs = pair(found[BASE], found[candidate.name])
            self._target = primary_target(pairs).measure
            scores.append(
                score_candidate(candidate.name, pairs, self._rule, drift=candidate.update_norm)
            )
        return scores

    def _choose(self) -> Choice:
        if self._target is None:
            raise TrainerError("no checkpoint was evaluated; delete the run's folder, train again")
        scores = [*(self._trained[s] for s in sorted(self._trained)), *self._others]
        choice = choose(scores, self._target)
        write_text(self._folder.choice, choice_to_json(choice))
        log.info("%s", choice.reason)
        return choice

    def _judge(self, choice: Choice) -> GateVerdict:
        """Judge the choice on the gate split and keep it as the run's adapter."""
        found = self._evaluate(Split.GATE, [choice.chosen])
        verdict = judge(pair(found[BASE], found[choice.chosen]), self._rule)
        copy_folder(self._folder.candidate(choice.chosen), self._folder.adapter)
        write_text(self._folder.gate, verdict_to_json(verdict))
        return verdict

    def _evaluate(self, split: Split, names: Sequence[str]) -> dict[str, Evaluation]:
        """The base and the named candidates on `split`."""
        return evaluate_apart(
            Asked(
                model=self._model,
                suites=self._suite_names,
                split=split,
                adapters={name: self._folder.candidate(name) for name in names},
                folder=self._folder,
                max_rank=self._recipe.lora.rank,
                show=self._show,
            )
        )
