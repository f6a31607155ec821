"""Copies on this disk: bounded, mended, kept while in use, and served while the store is away."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from gateway.errors import AdapterRejected, BadInput, RegistryUnavailable
from gateway.registry.opening import open_registry
from gateway.routing.table import AdapterRef
from tests.gateway.registry.backends import Backend, publish


@pytest.fixture
def place(tmp_path: Path) -> Backend:
    return Backend(f"memory://{uuid.uuid4().hex}/registry", tmp_path)


@contextlib.contextmanager
def cut(monkeypatch: pytest.MonkeyPatch, error: Exception) -> Iterator[None]:
    """Within it, everything that is asked of the store fails."""

    def fails(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as patched:
        for name in ("find", "cat_file", "get_file", "info", "put_file", "pipe_file", "rm_file"):
            patched.setattr(MemoryFileSystem, name, fails)
        yield


def copies(place: Backend) -> list[str]:
    found = place.folder.glob("cache/*/*/*/manifest.json")
    return sorted(f"{path.parts[-3]}@{path.parts[-2]}" for path in found)


def test_least_recently_used_copies_go_when_there_are_too_many(
    place: Backend, tmp_path: Path
) -> None:
    made = [publish(place.open(), tmp_path, f"t@{index}", float(index)) for index in range(4)]
    size = sum(file.stat().st_size for file in made[0].path.iterdir())
    registry = place.open(cache="cache", cache_bytes=2 * size + 64)
    for turn, index in enumerate((0, 1, 0, 2)):
        with registry.at_hand(registry.get(made[index].ref)):
            os.utime(registry.get(made[index].ref).path, (turn, turn))
    assert copies(place) == ["t@0", "t@2"]


def test_a_copy_in_use_stays_whatever_the_bound(place: Backend, tmp_path: Path) -> None:
    one, two = (publish(place.open(), tmp_path, f"t@{index}", float(index)) for index in (1, 2))
    registry = place.open(cache="cache", cache_bytes=1)
    other = place.open(cache="cache", cache_bytes=1)  # as of another process
    first = registry.catalogue().artifacts[one.ref]
    with registry.at_hand(first):
        other.get(two.ref)
        assert "t@1" in copies(place)
        assert (first.path / "adapter_model.safetensors").is_file()
    other.verify(two.ref)
    assert copies(place) == ["t@2"]


def test_a_damaged_copy_is_fetched_again(place: Backend, tmp_path: Path) -> None:
    made = publish(place.open(), tmp_path, "t@1")
    registry = place.open(cache="cache")
    artifact = registry.get(made.ref)
    weights = artifact.path / "adapter_model.safetensors"
    whole, times = weights.read_bytes(), weights.stat()
    weights.write_bytes(whole[:-1] + b"x")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a failing disk does it
    with registry.at_hand(artifact):
        assert weights.read_bytes() == whole
    shutil.rmtree(artifact.path)
    assert registry.get(made.ref) == artifact
    assert weights.read_bytes() == whole


@pytest.mark.parametrize("error", [OSError("no route to host"), PermissionError("denied")])
def test_while_the_store_is_away_what_was_seen_is_known_and_the_copies_serve(
    place: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    here, far = (publish(place.open(), tmp_path, f"t@{index}", float(index)) for index in (1, 2))
    registry = place.open(cache="cache")
    registry.get(here.ref)
    before = registry.catalogue()
    with cut(monkeypatch, error):
        now = registry.catalogue()
        assert (now.artifacts, now.damaged) == (before.artifacts, before.damaged)
        assert now.away is not None
        assert place.url in now.away
        assert str(error) in now.away
        assert "credentials" in now.away
        with registry.at_hand(now.artifacts[here.ref]):
            pass
        with (
            pytest.raises(AdapterRejected, match=r"t@2 .* cannot be fetched: .*memory://"),
            registry.at_hand(now.artifacts[far.ref]),
        ):
            pass
        with pytest.raises(RegistryUnavailable):
            publish(registry, tmp_path, "t@3", 3.0)
        started = place.open(cache="cache")  # a start without the store
        assert list(started.catalogue().artifacts) == [here.ref]
        assert started.find(here.ref) is not None
        with pytest.raises(RegistryUnavailable):
            started.find(far.ref)
    assert registry.catalogue().away is None
    with registry.at_hand(registry.catalogue().artifacts[far.ref]):
        pass


def test_a_publisher_that_dies_before_the_last_write_has_published_nothing(
    place: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise OSError("connection reset")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "pipe_file", dies)
        with pytest.raises(RegistryUnavailable, match="connection reset"):
            publish(place.open(), tmp_path, "t@1")
    assert place.open().refs() == []
    assert publish(place.open(), tmp_path, "t@1", 2.0).ref == AdapterRef("t", "1")


def test_a_listing_reads_an_entry_once(
    place: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(20):
        publish(place.open(), tmp_path, f"t@{index}", float(index))
    registry = place.open()
    assert len(registry.catalogue().artifacts) == 20
    reads: list[str] = []
    read = MemoryFileSystem.cat_file

    def counted(self: Any, path: str, *rest: Any, **more: Any) -> Any:
        reads.append(path)
        return read(self, path, *rest, **more)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counted)
    publish(place.open(), tmp_path, "new@1", 99.0)
    reads.clear()
    assert len(registry.catalogue().artifacts) == 21
    assert len(reads) == 1


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nothing://bucket/x", "nothing"),
        ("gs://bucket/x", "pip install gcsfs"),
        ("", "is empty"),
        ("  ", "is empty"),
    ],
)
def test_a_location_that_cannot_be_used_is_refused_with_what_to_do(url: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        open_registry(url)
    assert refused.value.param == "registry"


def test_a_password_in_a_url_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "paramiko", None)
    with pytest.raises(BadInput) as refused:
        open_registry("sftp://ann:secret@host/x")
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("after", range(16))
def test_a_publication_cut_anywhere_is_whole_or_not_there_and_can_be_done_again(
    place: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    kept = publish(place.open(), tmp_path, "kept@1", 2.0)
    calls = 0

    def counted(name: str) -> Any:
        real = getattr(MemoryFileSystem, name)

        def call(*given: Any, **more: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise OSError("connection reset")
            return real(*given, **more)

        return call

    done = None
    with monkeypatch.context() as patched:
        for name in ("find", "cat_file", "get_file", "info", "put_file", "pipe_file"):
            patched.setattr(MemoryFileSystem, name, counted(name))
        with contextlib.suppress(RegistryUnavailable):
            done = publish(place.open(), tmp_path, "t@1")
    other = place.open()
    assert not other.catalogue().damaged
    for ref in other.refs():
        other.verify(ref)
    assert kept.ref in other.refs()
    if done is not None:
        assert done.ref in other.refs()
    assert publish(other, tmp_path, "t@1").ref in place.open().refs()
    assert place.open().get(AdapterRef("t", "1")).digest == publish(other, tmp_path, "t@1").digest
