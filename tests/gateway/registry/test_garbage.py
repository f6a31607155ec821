"""What no log names goes, when it is old enough; nothing else does, whatever happens meanwhile."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import BadInput, LogUnavailable, NotAllowed, RegistryUnavailable
from gateway.log.location import FolderLocation
from gateway.log.sqlite import FILE_NAME, SqliteLog
from gateway.log.whole import whole_history
from gateway.registry.base import AdapterRegistry
from gateway.registry.entry import BLOBS
from gateway.registry.garbage import Collection, collect
from gateway.registry.objects import ObjectStore
from gateway.registry.opening import open_garbage
from gateway.registry.values import AdapterArtifact
from gateway.routing.events import (
    AdapterApproved,
    AdapterRegistered,
    AdapterRevoked,
    CanaryStepped,
    Change,
    Draft,
    RoutePinned,
    TableApplied,
    TableEdited,
)
from gateway.routing.named import Named, named_by
from gateway.routing.table import Route, Shadow, Target
from tests.gateway.registry.backends import Backend, backend, publish

DAY = 86_400.0
LATER = time.time() + 30 * DAY  # what is published now is a month old then


@pytest.fixture(params=["folder", "file", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with backend(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=["folder", "memory"])
def light(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    with backend(request.param, tmp_path) as made:
        yield made


class Log:
    """A real log, and what it names."""

    def __init__(self, folder: Path) -> None:
        self.location = FolderLocation(folder)
        folder.mkdir()
        self.log = SqliteLog(folder / FILE_NAME)

    def add(self, change: Change) -> None:
        self.log.append(Draft(change, "ann", "", 1.0), expected=self.log.head())

    def named(self) -> Named:
        return named_by(whole_history(self.location))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "var")
    made.add(TableApplied((), "routes.yaml", "0" * 64))
    yield made
    made.log.close()


def gc(place: Backend, log: Log, **more: Any) -> Collection:
    given: dict[str, Any] = {"now": LATER, "before": LATER - 7 * DAY, **more}
    return collect(open_garbage(place.url), log.named, **given)


def refs(registry: AdapterRegistry) -> list[str]:
    return [str(ref) for ref in registry.refs()]


def target(artifact: AdapterArtifact) -> Target:
    return Target(artifact.ref, artifact.digest)


def blobs(place: Backend) -> int:
    return len(ObjectStore(place.url).listing(BLOBS)) if place.remote else 0


def test_what_no_log_names_is_removed_and_the_rest_is_whole(
    place: Backend, tmp_path: Path, log: Log
) -> None:
    registry = place.open()
    used = publish(registry, tmp_path, "used@1", 1.0, report={"answers": {}})
    publish(registry, tmp_path, "idle@1", 2.0)
    publish(registry, tmp_path, "used@2", 3.0)
    log.add(TableApplied((Route("w", target(used)),), "routes.yaml", "1" * 64))
    dry = gc(place, log, dry_run=True)
    assert refs(place.open()) == ["idle@1", "used@1", "used@2"]
    done = gc(place, log)
    assert {str(each.ref) for each in done.removed} == {"idle@1", "used@2"}
    assert dry.removed == done.removed
    assert refs(place.open()) == ["used@1"]
    assert place.open().verify(used.ref).digest == used.digest
    assert place.open().report(used.ref) == {"answers": {}}
    gc(place, log)
    assert blobs(place) == (3 if place.remote else 0)


def test_files_that_another_adapter_shares_stay(place: Backend, tmp_path: Path, log: Log) -> None:
    registry = place.open()
    kept = publish(registry, tmp_path, "a@1", 1.0, recipe="one")
    publish(registry, tmp_path, "b@1", 2.0, recipe="one")
    log.add(AdapterApproved(kept.ref, kept.digest))
    gc(place, log)
    gc(place, log)
    assert place.open().verify(kept.ref) is not None


def changes(one: AdapterArtifact) -> dict[str, Change]:
    route = Route("w", target(one))
    return {
        "table": TableApplied((route,), "api", "1" * 64),
        "edit": TableEdited((route,), (), "api", "1" * 64),
        "fallback": TableApplied((Route("w", Target(), fallback=target(one)),), "api", "1" * 64),
        "shadow": TableApplied(
            (Route("w", Target(), shadow=Shadow(target(one), 1.0)),), "api", "1" * 64
        ),
        "pin": RoutePinned("w", 1, route),
        "canary": CanaryStepped("w", target(one), 0, 5.0),
        "approved": AdapterApproved(one.ref, one.digest),
        "registered": AdapterRegistered(one.ref, one.digest),
        "revoked": AdapterRevoked(one.ref, one.digest),
    }


WAYS = ["table", "edit", "fallback", "shadow", "pin", "canary", "approved", "registered", "revoked"]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_name_an_adapter_keeps_it_also_long_after(
    light: Backend, tmp_path: Path, log: Log, way: str
) -> None:
    one = publish(light.open(), tmp_path, "one@1")
    log.add(changes(one)[way])
    log.add(TableApplied((), "routes.yaml", "2" * 64))  # nothing of it is live any more
    assert not gc(light, log).removed
    assert light.open().verify(one.ref).digest == one.digest


@pytest.mark.parametrize(
    ("way", "goes"), [("registered", True), ("revoked", True), ("approved", False)]
)
def test_what_was_only_registered_or_revoked_goes_when_asked(
    light: Backend, tmp_path: Path, log: Log, way: str, goes: int
) -> None:
    one = publish(light.open(), tmp_path, "one@1")
    log.add(changes(one)[way])
    assert len(gc(light, log, with_registered=True).removed) == goes


def test_a_name_and_its_content_each_keep_an_adapter(
    light: Backend, tmp_path: Path, log: Log
) -> None:
    named = publish(light.open(), tmp_path, "one@1", 1.0)
    publish(light.open(), tmp_path, "same@1", 1.0)  # the same content by another name
    log.add(AdapterApproved(named.ref, named.digest))
    assert not gc(light, log).removed
    assert refs(light.open()) == ["one@1", "same@1"]


def test_what_is_young_stays(light: Backend, tmp_path: Path, log: Log) -> None:
    publish(light.open(), tmp_path, "one@1")
    now = time.time()
    done = gc(light, log, now=now, before=now - 3600)
    assert (list(done.removed), done.young) == ([], 1)


def test_every_log_that_is_given_counts(light: Backend, tmp_path: Path, log: Log) -> None:
    other = Log(tmp_path / "other")
    one = publish(light.open(), tmp_path, "one@1")
    other.add(AdapterApproved(one.ref, one.digest))
    both = collect(
        open_garbage(light.url),
        lambda: log.named() | other.named(),
        now=LATER,
        before=LATER - DAY,
    )
    other.log.close()
    assert not both.removed
    assert gc(light, log).removed


def test_what_is_approved_while_the_collection_runs_is_brought_back(
    light: Backend, tmp_path: Path, log: Log
) -> None:
    one = publish(light.open(), tmp_path, "one@1", 1.0)
    two = publish(light.open(), tmp_path, "two@1", 2.0)
    done = gc(light, log, settle=lambda: log.add(AdapterApproved(one.ref, one.digest)))
    assert list(done.named_meanwhile) == [one.ref]
    assert [each.ref for each in done.removed] == [two.ref]
    assert light.open().verify(one.ref).digest == one.digest


def test_what_is_published_anew_while_the_collection_runs_is_kept(
    light: Backend, tmp_path: Path, log: Log
) -> None:
    publish(light.open(), tmp_path, "one@1", 1.0)
    again = []
    gc(light, log, settle=lambda: again.append(publish(light.open(), tmp_path, "one@1", 2.0)))
    assert light.open().verify(again[0].ref).digest == again[0].digest


def test_a_log_that_goes_away_halfway_removes_nothing(
    light: Backend, tmp_path: Path, log: Log
) -> None:
    one = publish(light.open(), tmp_path, "one@1")
    reads = 0

    def read() -> Named:
        nonlocal reads
        reads += 1
        if reads > 1:
            raise LogUnavailable("away")
        return log.named()

    with pytest.raises(LogUnavailable):
        collect(open_garbage(light.url), read, now=LATER, before=LATER)
    assert light.open().verify(one.ref).digest == one.digest


def test_what_a_collection_that_died_has_hidden_is_brought_back_by_the_next(
    light: Backend, tmp_path: Path, log: Log
) -> None:
    one = publish(light.open(), tmp_path, "one@1")
    open_garbage(light.url).hide(one.ref, time.time())
    assert refs(light.open()) == []
    log.add(AdapterApproved(one.ref, one.digest))
    gc(light, log)
    assert light.open().verify(one.ref).digest == one.digest


def test_a_damaged_adapter_is_kept_and_told_and_so_are_all_files(
    light: Backend, tmp_path: Path, log: Log
) -> None:
    hurt = publish(light.open(), tmp_path, "hurt@1", 1.0)
    publish(light.open(), tmp_path, "idle@1", 2.0)
    light.spoil("hurt@1")
    before = blobs(light)
    done = gc(light, log)
    assert list(done.damaged) == [hurt.ref]
    assert [str(each.ref) for each in done.removed] == ["idle@1"]
    assert blobs(light) == before
    assert refs(light.open()) == ["hurt@1"]


def test_what_broken_publications_left_goes(light: Backend, tmp_path: Path, log: Log) -> None:
    kept = publish(light.open(), tmp_path, "kept@1")
    log.add(AdapterApproved(kept.ref, kept.digest))
    if light.remote:
        left = tmp_path / "left"
        left.write_bytes(b"half a publication")
        ObjectStore(light.url).put(left, f"{BLOBS}/{'a' * 64}")
    else:
        (Path(light.url) / ".publishing-x" / "adapter").mkdir(parents=True)
    now = time.time()
    assert not gc(light, log, now=now, before=now - 3600).leftovers
    assert len(gc(light, log).leftovers) == 1
    assert not gc(light, log).leftovers
    assert light.open().verify(kept.ref) is not None


def test_a_registry_that_cannot_be_written_is_left_as_it_is(tmp_path: Path, log: Log) -> None:
    with backend("folder", tmp_path) as place:
        one = publish(place.open(), tmp_path, "one@1")
        (Path(place.url) / ".collected").write_text("in the way")
        with pytest.raises(RegistryUnavailable, match="user that owns it"):
            gc(place, log)
        assert place.open().verify(one.ref).digest == one.digest


def test_a_history_that_is_not_there_or_empty_or_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="--state"):
        whole_history(FolderLocation(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()
    log = Log(tmp_path / "var")
    with pytest.raises(NotAllowed, match="no revision"):
        log.named()
    for index in range(4):
        log.add(TableApplied((), "api", str(index) * 64))
    with sqlite3.connect(log.location.path / FILE_NAME) as db:  # past the log's own hands
        db.execute("DROP TRIGGER events_never_go")
        db.execute("DELETE FROM events WHERE revision = 2")
    with pytest.raises(NotAllowed, match=r"revision 2 .*audit verify"):
        log.named()
    log.log.close()


def test_a_folder_that_is_away_is_no_registry(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no folder"):
        open_garbage(str(tmp_path / "nowhere"))
