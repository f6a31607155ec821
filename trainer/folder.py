"""Where a run keeps what it writes. Paths only: who writes what is in each module's docstring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder. Files are written whole (temporary name, flush, rename)."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The recipe as resolved: every default written out."""
        return self.root / "recipe.yaml"

    @property
    def data_manifest(self) -> Path:
        """Source, licence, digest, rows and tokens of every part, and the shares."""
        return self.root / "data" / "manifest.json"

    @property
    def data_checks(self) -> Path:
        """What the checks found: duplicates, leaks, balance, over-long rows, examples."""
        return self.root / "data" / "checks.json"

    @property
    def self_anchors(self) -> Path:
        """Anchor prompts with the base model's own answers."""
        return self.root / "data" / "self-anchors.jsonl"

    @property
    def metrics(self) -> Path:
        """One JSON line a training step."""
        return self.root / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """A sealed checkpoint: adapter, optimiser, scheduler, random state."""
        return self.checkpoints / f"step-{step:05d}"

    def checkpoint_adapter(self, step: int) -> Path:
        """The checkpoint's adapter as it would be served, in PEFT's format."""
        return self.checkpoint(step) / "adapter"

    def candidate(self, name: str) -> Path:
        """An adapter folder in PEFT's format, made from checkpoints (`step-00050@0.75`)."""
        return self.root / "candidates" / name

    def evaluation(self, split: str, model: str) -> Path:
        return self.root / "evals" / split / f"{model}.json"

    @property
    def choice(self) -> Path:
        """Which candidate was chosen on the select split, and why the others were not."""
        return self.root / "choice.json"

    @property
    def gate(self) -> Path:
        """The verdict on the chosen candidate, on the gate split."""
        return self.root / "gate.json"

    @property
    def adapter(self) -> Path:
        """The chosen candidate, in PEFT's format, weights in bfloat16."""
        return self.root / "adapter"

    @property
    def summary(self) -> Path:
        """The whole run for machines."""
        return self.root / "report.json"

    @property
    def report_html(self) -> Path:
        return self.root / "report.html"

    @property
    def report_markdown(self) -> Path:
        return self.root / "report.md"
