"""From a recipe to what training reads: rows checked, anchors answered, tokens and batches.

Everything that can be known to be wrong is refused here, before a model is loaded; the one costly
step, the base model's own answers, comes after every check that does not need them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trainer.data.checks import (
    Balance,
    Duplicate,
    Leak,
    Skeleton,
    SuiteText,
    balance,
    leaks,
    refuse_leaks,
    refuse_one_sided,
    skeleton,
    without_duplicates,
)
from trainer.data.manifest import DataManifest, PartCounts, file_digest
from trainer.data.mixing import MixingPlan, plan
from trainer.data.rows import Row, read_rows
from trainer.data.tokens import TokenRow, render_masked, tokenize
from trainer.errors import DataError, RecipeError
from trainer.folder import RunFolder
from trainer.recipe import AnchorPart, Part, Recipe
from trainer.recipe_file import check_files, parts
from trainer.whole_files import write_text

Answerer = Callable[[Sequence[Row]], list[Row]]  # prompts in, the same rows answered out

_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class CheckedPart:
    """A part's rows after the checks that need no model."""

    field: str
    part: Part
    rows: tuple[Row, ...]
    found: int  # rows in the file
    duplicates: int
    over_long: int

    @property
    def by_base(self) -> bool:
        return isinstance(self.part, AnchorPart) and self.part.answers == "base"

    @property
    def kind(self) -> str:
        return self.part.kind if isinstance(self.part, AnchorPart) else "target"


@dataclass(frozen=True, slots=True)
class Findings:
    """What the checks found."""

    duplicates: tuple[Duplicate, ...]
    leaks: tuple[Leak, ...]
    balance: Balance
    prompts: Skeleton
    answers: Skeleton


@dataclass(frozen=True, slots=True)
class PreparedData:
    """Token rows (targets first), the plan of every batch, and what was found on the way."""

    rows: tuple[TokenRow, ...]
    plan: MixingPlan
    manifest: DataManifest
    findings: Findings
    examples: tuple[str, ...]

    def checks_json(self) -> dict[str, Any]:
        return {**asdict(self.findings), "examples": list(self.examples)}

    def lines(self) -> list[str]:
        """The checks in a few lines, and the examples, for a person."""
        manifest, found = self.manifest, self.findings
        lines = [
            f"{part.kind:8} {part.file}: {part.used} of {part.rows} rows, {part.loss_tokens} loss "
            f"tokens (left out: {part.duplicates} duplicates, {part.over_long} over-long, "
            f"{part.empty} unanswered)"
            for part in manifest.parts
        ]
        lines.append(
            f"anchors carry {manifest.anchor_share:.1%} of the loss tokens "
            f"({manifest.anchor_share_asked:.0%} asked); target rows are seen "
            f"{manifest.target_passes:.2f} times, anchors {manifest.anchor_passes:.2f}"
        )
        lines.append(
            f"{found.balance.answers} different target answers, the most common "
            f"{found.balance.majority[:40]!r} ({found.balance.share:.1%}); one format has "
            f"{found.prompts.share:.0%} of the prompts: {found.prompts.text[:60]!r}"
        )
        if found.leaks:
            lines.append(f"{len(found.leaks)} rows stand in an eval suite; the recipe allows it")
        return [*lines, "what is learnt (between ⟦ and ⟧):", *self.examples]


def check(
    recipe: Recipe, tokenizer: Any, suite_texts: Sequence[SuiteText], model_name: str
) -> tuple[list[CheckedPart], Findings]:
    """Every check that needs no model. Raises RecipeError, DataError and LeakFound."""
    check_files(recipe)
    checked, duplicates = _deduplicated(_read(recipe), recipe.data.near_duplicate)
    limit = recipe.data.max_tokens
    checked = [_fitting(part, tokenizer, model_name, limit) for part in checked]
    everything = [row for part in checked for row in part.rows]
    found = leaks(everything, suite_texts, recipe.data.near_duplicate)
    refuse_leaks(found, allowed=recipe.data.allow_leaks)
    targets = [row for part in checked if part.kind == "target" for row in part.rows]
    spread = balance(targets)
    refuse_one_sided(spread, recipe.data.max_majority)
    return checked, Findings(
        tuple(duplicates),
        tuple(found),
        spread,
        skeleton([row.prompt_text for row in targets]),
        skeleton([row.answer for row in targets]),
    )


def prepare(
    recipe: Recipe,
    checked: Sequence[CheckedPart],
    findings: Findings,
    tokenizer: Any,
    answer: Answerer,
    *,
    model_name: str = "the model",
    processes: int = 1,
) -> PreparedData:
    """Let the base model answer what it should (`answer`), and plan every batch of the budget for
    `processes` devices. Raises DataError where the rows cannot give the anchors' share."""
    asked = [row for part in checked if part.by_base for row in part.rows]
    answered = {row.id: row for row in answer(asked)} if asked else {}
    tokens: list[TokenRow] = []
    kinds: list[str] = []
    counts = []
    for part in sorted(checked, key=lambda p: p.kind != "target"):  # stable: targets first
        rows = [answered[row.id] if part.by_base else row for row in part.rows]
        spoken = [row for row in rows if row.answer.strip()]
        made = [tokenize(row, tokenizer, model_name) for row in spoken]
        fitting = [row for row in made if len(row.tokens) <= recipe.data.max_tokens]
        tokens += fitting
        kinds += [part.kind] * len(fitting)
        counts.append(_counts(part, fitting, len(rows) - len(spoken), len(made) - len(fitting)))
    targets = kinds.count("target")
    mixed = plan(
        [row.answer_len for row in tokens[:targets]],
        [row.answer_len for row in tokens[targets:]],
        share=recipe.data.anchors.share,
        batches=recipe.budget.steps * recipe.budget.gradient_accumulation * processes,
        batch_size=recipe.budget.batch_size,
        seed=recipe.seed,
    )
    return PreparedData(
        tuple(tokens),
        mixed,
        _manifest(recipe, counts, mixed, kinds),
        findings,
        tuple(render_masked(tokens[i], tokenizer) for i in _spread(len(tokens), targets)),
    )


def write_findings(prepared: PreparedData, folder: RunFolder) -> None:
    """The run's data manifest and checks, as JSON."""
    for path, content in (
        (folder.data_manifest, prepared.manifest.to_json()),
        (folder.data_checks, prepared.checks_json()),
    ):
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _read(recipe: Recipe) -> list[CheckedPart]:
    found = []
    for field, part in parts(recipe):
        given = not isinstance(part, AnchorPart) or part.answers == "given"
        rows = tuple(read_rows(part.path, answered=given))
        found.append(CheckedPart(field, part, rows, len(rows), 0, 0))
    names = [part.part.path.name for part in found]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise RecipeError(
                f"another part's file is called {name} too; rename one, so that rows can be told "
                "apart",
                field=f"{found[i].field}.path",
            )
    return found


def _deduplicated(
    read: Sequence[CheckedPart], threshold: float
) -> tuple[list[CheckedPart], list[Duplicate]]:
    """Targets among themselves and anchors among themselves: an anchor may well ask something
    else about what a target asks."""
    duplicates: list[Duplicate] = []
    alive: set[str] = set()
    for target in (True, False):
        rows = [row for part in read if (part.kind == "target") is target for row in part.rows]
        kept, dropped = without_duplicates(rows, threshold)
        duplicates += dropped
        alive |= {row.id for row in kept}
    made = []
    for part in read:
        rows_left = tuple(row for row in part.rows if row.id in alive)
        made.append(replace(part, rows=rows_left, duplicates=len(part.rows) - len(rows_left)))
    return made, duplicates


def _fitting(part: CheckedPart, tokenizer: Any, model_name: str, limit: int) -> CheckedPart:
    rows = tuple(row for row in part.rows if _fits(row, part.by_base, tokenizer, model_name, limit))
    if not rows:
        raise DataError(
            f"{part.field}: no row of {part.part.path.name} is left: {part.found} in the file, "
            f"{part.duplicates} duplicates, {len(part.rows)} longer than data.max_tokens "
            f"({limit}); raise the limit or give it other rows"
        )
    return replace(part, rows=rows, over_long=len(part.rows) - len(rows))


def _fits(row: Row, by_base: bool, tokenizer: Any, model_name: str, limit: int) -> bool:
    """Whether the row is within the limit; one that the base will answer needs a token's room."""
    made = tokenize(replace(row, answer="") if by_base else row, tokenizer, model_name)
    return len(made.tokens) <= limit


def _counts(part: CheckedPart, rows: Sequence[TokenRow], empty: int, too_long: int) -> PartCounts:
    return PartCounts(
        field=part.field,
        file=part.part.path.name,
        kind=part.kind,
        answers="base" if part.by_base else "given",
        source=part.part.source,
        licence=part.part.licence,
        sha256=file_digest(part.part.path),
        rows=part.found,
        over_long=part.over_long + too_long,
        duplicates=part.duplicates,
        empty=empty,
        used=len(rows),
        tokens=sum(len(row.tokens) for row in rows),
        loss_tokens=sum(row.answer_len for row in rows),
    )


def _manifest(
    recipe: Recipe, counts: Sequence[PartCounts], mixed: MixingPlan, kinds: Sequence[str]
) -> DataManifest:
    drawn: dict[str, int] = {}
    for batch in mixed.batches:
        for row in batch:
            drawn[kinds[row]] = drawn.get(kinds[row], 0) + mixed.loss_tokens[row]
    total = math.fsum(drawn.values())
    target_passes, anchor_passes = mixed.passes()
    return DataManifest(
        parts=tuple(counts),
        anchor_share_asked=recipe.data.anchors.share,
        anchor_share=mixed.anchor_share(),
        target_passes=round(target_passes, 3),
        anchor_passes=round(anchor_passes, 3),
        shares={kind: round(count / total, 4) for kind, count in sorted(drawn.items())},
    )


def _spread(rows: int, targets: int) -> list[int]:
    """Three rows to show: two targets and an anchor where there are both."""
    picked = [0, targets // 2, targets + (rows - targets) // 2 if rows > targets else targets - 1]
    return sorted(set(picked))[:_EXAMPLES]
