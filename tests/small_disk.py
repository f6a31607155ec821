"""A file system of one megabyte, to be full for real. Needs root, for its mount."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_BALLAST = "ballast"


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """`folder`, as a disk of its own. Skips the test where none can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here to make a small disk with")
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted (root is needed): {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Write until nothing fits any more."""
    file = os.open(disk / _BALLAST, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (1 << 16, 1 << 12, 1 << 8, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(file, b"\0" * size)
    finally:
        os.close(file)


def make_room(disk: Path) -> None:
    """Take away what `fill` wrote."""
    (disk / _BALLAST).unlink()
