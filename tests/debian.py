"""Programs that tests need and no package of Python carries: from PATH, or out of Debian's packages
into the cache. Nothing is installed, and no service is started.

`python -m tests.debian PROGRAM PACKAGE` fetches one before the tests ask for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from gateway.model.source import default_cache

_FETCH_S = 240


class Unobtainable(Exception):
    """The program is not on this machine, and its package could not be fetched."""


def program(name: str, package: str) -> Path:
    """Where `name` is; fetches Debian's `package` once. Skips the test where it cannot be had."""
    try:
        return find(name, package)
    except Unobtainable as error:
        pytest.skip(f"{name} is not on PATH, and Debian's {package} cannot be had: {error}")


@cache
def find(name: str, package: str) -> Path:
    """Where `name` is. Raises Unobtainable."""
    if (there := shutil.which(name)) is not None:
        return Path(there)
    folder = default_cache() / "debian" / package
    if not folder.is_dir():
        _fetch(package, folder)
    found = folder / "usr" / "bin" / name
    if not found.is_file():
        raise Unobtainable(f"{folder} has no usr/bin/{name}; remove the folder to fetch it again")
    return found


def _fetch(package: str, folder: Path) -> None:
    """Unpack `package` to `folder`, which is whole or not there."""
    if missing := [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]:
        raise Unobtainable(f"this machine has no {missing[0]}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as made:
        making = Path(made)
        try:
            _run(making, "apt-get", "download", package)
        except Unobtainable:  # the machine's own lists are empty or old: read them beside
            own = _own_lists(making)
            _run(making, "apt-get", *own, "update")
            _run(making, "apt-get", *own, "download", package)
        (archive,) = making.glob("*.deb")
        _run(making, "dpkg-deb", "-x", str(archive), "whole")
        try:
            (making / "whole").rename(folder)
        except OSError:  # another run was faster
            if not folder.is_dir():
                raise


def _own_lists(making: Path) -> list[str]:
    """Options by which apt keeps its lists in `making`, so that it needs no rights."""
    for part in ("lists/partial", "cache/archives/partial"):
        (making / part).mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::Lists={making / 'lists'}", "-o", f"Dir::Cache={making / 'cache'}"]


def _run(folder: Path, *command: str) -> None:
    try:
        subprocess.run(
            command,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=_FETCH_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()
        raise Unobtainable(last[-1] if last else f"{command[0]} failed") from None
    except subprocess.TimeoutExpired:
        raise Unobtainable(f"{command[0]} took more than {_FETCH_S} s") from None


if __name__ == "__main__":
    try:
        print(find(*sys.argv[1:3]))
    except Unobtainable as error:
        sys.exit(f"{' '.join(sys.argv[1:3])}: {error}")
