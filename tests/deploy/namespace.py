"""A machine of its own, as far as the network goes: a Linux network namespace, joined to this one
by a pair of virtual interfaces, whose packets can be made to vanish.

Cut off, it answers nothing: no reset, no refusal, as behind a pulled cable or a dropped route.
Needs root; `available` says why not.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass, field

_numbers = itertools.count()


def available() -> str:
    """Empty, or why no namespace can be made here."""
    if shutil.which("ip") is None:
        return "there is no `ip` (Debian: iproute2)"
    name = f"gwtry{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if done.returncode != 0:
        return f"no right to make a network namespace: {done.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@dataclass
class Namespace:
    """One namespace. `address` is its own, reachable from here."""

    name: str = field(init=False)
    address: str = field(init=False)
    _here: str = field(init=False)

    def __post_init__(self) -> None:
        number = (os.getpid() * 4 + next(_numbers)) % 32768
        self.name = f"gw{number}"
        # 198.18.0.0/15 is for tests of networks (RFC 2544); four addresses for each.
        net = 4 * number
        prefix = f"198.{18 + (net >> 16)}.{net >> 8 & 255}"
        self._here, self.address = (f"{prefix}.{(net & 255) + host}" for host in (1, 2))

    def make(self) -> None:
        """Make it. Raises CalledProcessError where that cannot be."""
        here, there = f"{self.name}h", f"{self.name}n"
        _ip("netns", "add", self.name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
        _ip("addr", "add", f"{self._here}/30", "dev", here)
        _ip("link", "set", here, "up")
        for words in (
            ("addr", "add", f"{self.address}/30", "dev", there),
            ("link", "set", there, "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", self.name, *words)

    def within(self) -> tuple[str, ...]:
        """The words before a command that is to run in it."""
        return ("ip", "netns", "exec", self.name)

    def cut(self) -> None:
        """From now on its packets vanish."""
        _ip("-n", self.name, "route", "add", "blackhole", f"{self._here}/32")

    def mend(self) -> None:
        """As before the cut."""
        _ip("-n", self.name, "route", "del", "blackhole", f"{self._here}/32")

    def remove(self) -> None:
        """Take it away; with it the interfaces."""
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)
