"""Slots hold no more than they can, and never lose what a row runs on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.engine.embedded.popularity import Popularity
from gateway.engine.embedded.slot_table import Need, SlotTable

NAMES = st.sampled_from("abcd")


class Slots(RuleBasedStateMachine):
    """Requests, rows and loads in any order, as an engine and a loader would send them."""

    @initialize(slots=st.integers(1, 2))
    def begin(self, slots: int) -> None:
        self.table = SlotTable(slots)
        self.slots = slots
        self.waiting: list[str] = []
        self.rows: list[tuple[str, int]] = []  # with the slot that each runs on
        self.filling: tuple[int, Need] | None = None
        self.promised: set[str] = set()  # filled for one with a place, that has not come

    @rule(name=NAMES)
    def request(self, name: str) -> None:
        assert self.table.expect(name) == self.table.is_ready(name)
        self.waiting.append(name)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave_the_queue(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(name)
        self.table.expect_less(name)
        if name not in self.waiting:
            self.table.withdraw(name)
            self.promised.discard(name)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def join(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.waiting))
        index = self.table.join(name)
        if index is not None:
            self.waiting.remove(name)
            self.rows.append((name, index))
        else:
            assert name not in self.promised, "what was promised was not given"
        self.promised.discard(name)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.rows))
        self.rows.remove(row)
        self.table.leave(row[1])

    @precondition(lambda self: self.filling is None)
    @rule(data=st.data(), need=st.sampled_from(Need))
    def load(self, data: st.DataObject, need: Need) -> None:
        name = data.draw(st.sampled_from(self.waiting) if self.waiting else NAMES)
        if self.table.is_held(name):
            self.table.keep(name, need)
            if need is Need.URGENT and name in self.waiting:
                self.promised.add(name)
            return
        before = set(self.table.resident())
        index = self.table.victim(need)
        if index is None:
            if need is Need.URGENT:
                self.table.drain_one()
            return
        self.table.begin(index, name)
        gone = before - set(self.table.resident())
        assert not gone & self.promised
        assert not gone & {running for running, _ in self.rows}
        if need is not Need.URGENT:
            assert not gone & set(self.waiting)
        if need is Need.BACKGROUND:
            assert not gone & self.table.pinned
        self.filling = (index, need)
        if data.draw(st.booleans()):  # at once: else what comes between is all that is seen
            self.filled(whole=True)

    @precondition(lambda self: self.filling is not None)
    @rule(whole=st.booleans())
    def end_of_fill(self, whole: bool) -> None:
        self.filled(whole)

    def filled(self, whole: bool) -> None:
        assert self.filling is not None
        index, need = self.filling
        before = set(self.table.resident())
        if whole:
            self.table.filled(index, need)
            (name,) = set(self.table.resident()) - before
            if need is Need.URGENT and name in self.waiting:
                self.promised.add(name)
        else:
            self.table.abandon(index)
        self.filling = None

    @rule(names=st.sets(NAMES))
    def pin(self, names: set[str]) -> None:
        self.table.pinned = frozenset(names)

    @invariant()
    def every_row_runs_on_its_own_adapter(self) -> None:
        resident = self.table.resident()
        assert len(resident) == len(set(resident)) <= self.slots
        for name, _ in self.rows:
            assert name in resident
        by_name = dict(self.rows)
        assert all(by_name[name] == index for name, index in self.rows)
        assert all(self.table.is_wanted(name) for name in self.waiting)


TestSlots = Slots.TestCase


def test_a_slot_that_is_drained_empties_and_then_is_free() -> None:
    table = SlotTable(1)
    table.expect("a")
    table.begin(0, "a")
    table.filled(0, Need.URGENT)
    assert table.join("a") == 0
    table.expect("a")
    assert table.victim(Need.URGENT) is None
    table.drain_one()
    assert table.join("a") is None
    table.leave(0)
    assert table.victim(Need.URGENT) == 0


def test_the_adapter_asked_for_least_goes_first_and_one_that_is_wanted_last() -> None:
    table = SlotTable(3)
    for index, name in enumerate("abc"):
        for _ in range(3 - index):
            table.expect(name)
            table.expect_less(name)
        table.begin(index, name)
        table.filled(index, Need.AHEAD)
    assert table.victim(Need.AHEAD) == 2
    table.expect("c")
    assert table.victim(Need.AHEAD) == 1
    table.pinned = frozenset("ab")
    assert table.victim(Need.AHEAD) is None
    assert table.victim(Need.URGENT) == 2  # a live route's goes only where all are


@given(st.lists(NAMES, max_size=80), st.floats(1, 100))
def test_popularity_is_the_sum_of_what_is_left_of_each_request(
    asked: list[str], half_life: float
) -> None:
    popularity = Popularity(half_life)
    for name in asked:
        popularity.asked(name)
    for name in "abcd":
        ages = [len(asked) - at for at, other in enumerate(asked, 1) if other == name]
        expected = sum(2.0 ** (-age / half_life) for age in ages)
        assert abs(popularity.of(name) - expected) < 1e-6
    assert popularity.of(None) == 0.0


def test_a_bounded_number_of_adapters_is_remembered_the_popular_ones() -> None:
    popularity = Popularity(remembered=10)
    for number in range(1000):
        popularity.asked("popular")
        popularity.asked(f"once {number}")
        assert len(popularity._values) <= 10
    assert popularity.of("popular") > 100
