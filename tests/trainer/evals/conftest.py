"""The tiny model's files, made once."""

from __future__ import annotations

import pytest

from tests import tiny
from tests.trainer.evals.models import TinyFiles


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> TinyFiles:
    root = tmp_path_factory.mktemp("evals")
    model = tiny.make_tiny_model(root / "model")
    adapters = [tiny.make_tiny_adapter(root / f"a{n}", model, seed=n + 1) for n in range(2)]
    return TinyFiles(model, tuple(adapters))
