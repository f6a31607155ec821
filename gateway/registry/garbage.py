"""What a registry may forget: adapters that no revision of any log names, and what publications
that never ended have left.

Removing is in two steps, so that an approval that comes meanwhile loses nothing: an adapter is
hidden first, so that nobody can name it any more, then the logs are read again, and what they name
by now is brought back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.routing.named import Named
from gateway.routing.table import AdapterRef

ABANDONED_S = 600.0  # what has been hidden for longer was hidden by a collection that died


@dataclass(frozen=True, slots=True)
class Published:
    """One adapter of a registry. `digest` None: it is damaged, and what it was is not known. `at`:
    when it was published, the later of what it says and what the store says; None: unknown."""

    ref: AdapterRef
    digest: str | None
    at: float | None  # seconds since the epoch
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that belongs to no adapter."""

    what: str
    size_bytes: int


class Collectable(Protocol):
    """A registry as its collection sees it. Methods block, and raise RegistryUnavailable."""

    def published(self) -> list[Published]: ...

    def hide(self, ref: AdapterRef, at: float) -> None:
        """Have no reader find the adapter, as of the time `at`."""
        ...

    def hidden(self) -> list[tuple[AdapterRef, float]]:
        """What is hidden, and since when."""
        ...

    def restore(self, ref: AdapterRef) -> None:
        """Have readers find it again, unless the reference was published anew."""
        ...

    def destroy(self, ref: AdapterRef) -> None:
        """Remove a hidden adapter for good."""
        ...

    def leftovers(self, before: float) -> list[Leftover]:
        """What belongs to no adapter and is older than `before`."""
        ...

    def sweep(self, leftovers: Iterable[Leftover], before: float) -> None:
        """Remove them, where that is still so."""
        ...


@dataclass(frozen=True, slots=True)
class Collection:
    """What was removed (in a dry run: would be), and why the rest was kept."""

    removed: Sequence[Published]
    named_meanwhile: Sequence[AdapterRef]  # hidden, named by a log, and brought back
    named: int  # adapters that a log names
    young: int  # that none names, and that are too young
    damaged: Sequence[AdapterRef]  # not removed: what they were is not known
    leftovers: Sequence[Leftover]


def collect(
    registry: Collectable,
    read_logs: Callable[[], Named],
    *,
    now: float,
    before: float,
    with_registered: bool = False,
    dry_run: bool = False,
    settle: Callable[[], None] = lambda: None,
) -> Collection:
    """Remove what no log names and is older than `before` (seconds since the epoch).

    `read_logs` reads every log that names adapters of this registry; where it raises, nothing is
    removed. `with_registered`: also what was only ever registered or revoked. `settle` waits for
    as long as an approval takes.
    """
    if not dry_run:
        for ref, since in registry.hidden():
            if since < now - ABANDONED_S:
                registry.restore(ref)
    named, held = read_logs(), registry.published()
    unnamed = [each for each in held if not _names(named, each, with_registered)]
    garbage = [
        each
        for each in unnamed
        if each.digest is not None and each.at is not None and each.at < before
    ]
    late: list[AdapterRef] = []
    if not dry_run:
        late = _remove(registry, garbage, read_logs, settle, with_registered, now)
    leftovers = registry.leftovers(before)
    if not dry_run:
        registry.sweep(leftovers, before)
    return Collection(
        removed=[each for each in garbage if each.ref not in late],
        named_meanwhile=late,
        named=len(held) - len(unnamed),
        young=sum(each.digest is not None for each in unnamed) - len(garbage),
        damaged=[each.ref for each in unnamed if each.digest is None],
        leftovers=leftovers,
    )


def _remove(
    registry: Collectable,
    garbage: Sequence[Published],
    read_logs: Callable[[], Named],
    settle: Callable[[], None],
    with_registered: bool,
    now: float,
) -> list[AdapterRef]:
    """Remove `garbage`; what was named meanwhile, and is kept."""
    hidden: list[Published] = []
    try:
        for each in garbage:
            hidden.append(each)
            registry.hide(each.ref, now)
        if hidden:
            settle()
            named = read_logs()
            late = [each.ref for each in hidden if _names(named, each, with_registered)]
        else:
            late = []
        for each in list(hidden):
            if each.ref not in late:
                registry.destroy(each.ref)
                hidden.remove(each)
    finally:
        for each in hidden:  # named meanwhile; or all, where this did not come to its end
            registry.restore(each.ref)
    return late


def _names(named: Named, each: Published, with_registered: bool) -> bool:
    keeping = named.routed if with_registered else named.routed | named.spoken_of
    return each.ref in keeping or each.digest in keeping
