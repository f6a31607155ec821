"""The trainer's errors: what is wrong with a recipe or its data, and what to do about it."""

from __future__ import annotations


class TrainerError(Exception):
    """Any failure the trainer explains to its user."""


class RecipeError(TrainerError):
    """A recipe that cannot be used; `field` names the setting."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class DataError(TrainerError):
    """A data file that cannot be read as rows of messages."""


class SuiteError(TrainerError):
    """A suite that cannot be read: says which file, line and key."""


class EvaluationError(TrainerError):
    """A model that could not be asked: says which suite, item and model."""


class TemplateMismatch(DataError):
    """A chat template that does not render a prompt as the beginning of the whole row."""


class LeakFound(DataError):
    """Training rows that stand in an eval suite too."""


class TrainingFailed(TrainerError):
    """Training that stopped: a loss that is no number, a disk that is full, a run that differs."""
