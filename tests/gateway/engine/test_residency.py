"""Every load ends, whoever leaves: a slot, the reason, or nobody waits any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from torch import nn

from gateway.engine.embedded.adapter_file import HostAdapter, LayerUpdate
from gateway.engine.embedded.lora import LoraLinear
from gateway.engine.embedded.residency import Residency
from gateway.errors import AdapterRejected, EngineFault
from gateway.registry.values import AdapterArtifact, AdapterState
from gateway.routing.table import AdapterRef

DEADLINE_S = 20


def artifact(name: str) -> AdapterArtifact:
    ref = AdapterRef(name, "1")
    return AdapterArtifact(ref, name, Path(), "b", "b", 1, (), 32, AdapterState.APPROVED)


class Disk:
    """Adapters by name; each number of one is its letter's. `gate` closed holds reads up."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.reads: list[str] = []
        self.broken: set[str] = set()

    def read(self, wanted: AdapterArtifact) -> HostAdapter:
        self.begun.set()
        assert self.gate.wait(DEADLINE_S)
        self.reads.append(wanted.digest)
        if wanted.digest in self.broken:
            raise AdapterRejected("is broken", adapter=wanted.digest)
        value = torch.full((1, 4), float(ord(wanted.digest)))
        return HostAdapter(wanted.digest, {"layer": LayerUpdate(value, value, 1.0)})


Start = Callable[..., Residency]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def layer() -> LoraLinear:
    return LoraLinear("layer", 0, nn.Linear(4, 4), 2, 3, torch.float32)


@pytest.fixture
def start(disk: Disk, layer: LoraLinear) -> Iterator[Start]:
    running: list[Residency] = []

    def started(host_bytes: int = 1000) -> Residency:
        residency = Residency(
            layers={"layer": layer},
            slots=2,
            host_bytes=host_bytes,
            drain_after_s=0.01,
            read=disk.read,
            on_change=lambda: None,
        )
        residency.start()
        running.append(residency)
        return residency

    yield started
    disk.gate.set()
    for residency in running:
        residency.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


def acquired(residency: Residency, name: str) -> int:
    """A row's wait for `name`, as the engine thread does it."""
    found: list[int] = []

    def there() -> bool:
        index = residency.acquire(artifact(name))
        if index is not None:
            found.append(index)
        return index is not None

    until(there)
    return found[0]


def test_a_request_in_the_queue_has_its_adapter_in_a_slot_before_its_turn(start: Start) -> None:
    residency = start()
    assert not residency.expect(artifact("a"))
    until(lambda: residency.resident() == ("a",))
    assert residency.expect(artifact("a"))
    assert residency.acquire(artifact("a")) == residency.acquire(artifact("a"))


def test_a_read_for_one_that_needs_a_slot_does_not_wait_behind_one_that_can_have_none(
    start: Start, disk: Disk
) -> None:
    residency = start()
    for name in "ab":
        residency.expect(artifact(name))
        acquired(residency, name)
    residency.expect(artifact("c"))
    residency.acquire(artifact("c"))  # both slots are in use
    residency.expect(artifact("d"))
    until(lambda: disk.reads == ["a", "b", "c", "d"])
    assert set(residency.resident()) == {"a", "b"}


def test_under_a_stream_of_rows_on_the_popular_a_rare_adapter_still_gets_its_slot(
    start: Start,
) -> None:
    residency = start()
    rows = []
    for name in "abab":
        residency.expect(artifact(name))
        rows.append((name, acquired(residency, name)))
    residency.expect(artifact("c"))
    deadline = time.monotonic() + DEADLINE_S
    while residency.acquire(artifact("c")) is None:
        assert time.monotonic() < deadline, "it starved"
        # Before one row ends, the next on its adapter comes: no slot is ever without one, but
        # for the one that is drained, whose next row waits its turn.
        name, index = rows.pop(0)
        residency.expect(artifact(name))
        if residency.acquire(artifact(name)) is not None:
            rows.append((name, index))
        residency.release(index)
        time.sleep(0.001)
    assert "c" in residency.resident()


def test_a_slot_holds_its_adapter_alone(start: Start, layer: LoraLinear) -> None:
    residency = start()
    for name in "abcd":
        residency.expect(artifact(name))
        index = acquired(residency, name)
        assert layer.a[index, 0].tolist() == [float(ord(name))] * 4
        assert layer.b[index, 0].tolist() == [float(ord(name))] * 4
        assert not layer.a[index, 1:].any()
        assert residency.tensors.ranks[index] == 1
        residency.release(index)
    assert len(residency.resident()) == 2
    assert residency.evictions == 2


def test_one_that_left_while_its_adapter_was_read_leaves_nothing_behind(
    start: Start, disk: Disk
) -> None:
    residency = start()
    disk.gate.clear()
    disk.broken.add("a")
    residency.expect(artifact("a"))
    assert disk.begun.wait(DEADLINE_S)
    residency.withdraw("a")
    disk.gate.set()
    until(lambda: residency.load_failures == 1)
    disk.broken.clear()
    residency.expect(artifact("a"))
    acquired(residency, "a")  # and not the old one's error
    assert not residency._loads
    assert not residency._failed


def test_a_failed_load_is_told_once_to_the_row_and_to_whoever_awaits_it(
    start: Start, disk: Disk
) -> None:
    residency = start()
    disk.gate.clear()
    disk.broken.add("a")
    residency.expect(artifact("a"))
    waiting = residency.ensure(artifact("a"))
    disk.gate.set()
    with pytest.raises(AdapterRejected, match="is broken"):
        waiting.result(DEADLINE_S)
    until(lambda: residency.load_failures == 1)
    with pytest.raises(AdapterRejected, match="is broken"):
        residency.acquire(artifact("a"))
    residency.withdraw("a")
    disk.broken.clear()
    residency.expect(artifact("a"))
    acquired(residency, "a")


def test_what_others_await_is_loaded_though_the_row_left(start: Start, disk: Disk) -> None:
    residency = start()
    disk.gate.clear()
    residency.expect(artifact("a"))
    waiting = residency.ensure(artifact("a"))
    residency.withdraw("a")
    disk.gate.set()
    waiting.result(DEADLINE_S)
    assert residency.resident() == ("a",)


def test_with_every_slot_in_use_an_adapter_comes_as_near_as_memory(
    start: Start, disk: Disk
) -> None:
    residency = start()
    for name in "ab":
        residency.expect(artifact(name))
        acquired(residency, name)
    residency.ensure(artifact("c")).result(DEADLINE_S)
    assert set(residency.resident()) == {"a", "b"}
    residency.release(0)
    residency.expect(artifact("c"))
    acquired(residency, "c")
    assert disk.reads == ["a", "b", "c"]


@pytest.mark.parametrize("room", [0, 32, 64, 1000])
def test_any_room_in_memory_serves_everybody_and_is_kept_to(start: Start, room: int) -> None:
    residency = start(host_bytes=room)
    for names in ("abcdef", "fedcba"):
        for name in names:
            residency.expect(artifact(name))
        for name in names:
            residency.release(acquired(residency, name))
    # One adapter of 32 bytes may be on its way to a slot.
    assert residency.memory_bytes <= max(room, 32)


def test_a_wait_ends_when_the_slot_is_filled_whenever_the_row_takes_it(start: Start) -> None:
    residency = start()
    since = time.monotonic()
    residency.expect(artifact("a"))
    until(lambda: residency.resident() == ("a",))
    filled = time.monotonic()
    index = acquired(residency, "a")
    until(lambda: time.monotonic() > filled + 0.01)
    assert 0 < residency.waited(index, since) <= filled - since
    assert residency.waited(index, filled) > 0.01  # it was there before: a drain held it up


def test_a_stop_tells_those_who_wait(start: Start, disk: Disk) -> None:
    residency = start()
    disk.gate.clear()
    waiting: list[Future[None]] = [residency.ensure(artifact(name)) for name in "ab"]
    assert disk.begun.wait(DEADLINE_S)
    closing = threading.Thread(target=residency.close)
    closing.start()
    disk.gate.set()
    closing.join(DEADLINE_S)
    with pytest.raises(EngineFault, match="stopping"):
        waiting[1].result(DEADLINE_S)
