"""Run as a process of its own by the resume test, so that it can be killed: trains into a folder
and says `done` at the end."""

from __future__ import annotations

import sys
from pathlib import Path

from gateway.model.fingerprint import fingerprint
from gateway.model.source import ModelFiles
from trainer.folder import RunFolder
from trainer.recipe_file import read_recipe
from trainer.training.run import train


def main() -> None:
    recipe, model, run = (Path(argument) for argument in sys.argv[1:])
    train(
        read_recipe(recipe),
        ModelFiles(model, "tiny", fingerprint(model)),
        RunFolder(run),
        leak_texts=(),
        on_checkpoint=lambda step, adapter: False,
    )
    print("done", flush=True)


if __name__ == "__main__":
    main()
