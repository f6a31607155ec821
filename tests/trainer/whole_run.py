"""Run as a process of its own by the pipeline test, so that it can be killed: a whole run."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.model.fingerprint import fingerprint
from gateway.model.source import ModelFiles
from trainer.folder import RunFolder
from trainer.pipeline import Run
from trainer.recipe_file import read_recipe


def main() -> None:
    recipe, model, run = (Path(argument) for argument in sys.argv[1:])
    files = ModelFiles(model, "tiny", fingerprint(model))
    Run(read_recipe(recipe), files, RunFolder(run)).execute()
    print("done", flush=True)


if __name__ == "__main__":
    main()
