"""Recent answers are remembered within their bounds, and the first feedback on each counts."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from gateway.errors import NotAllowed
from gateway.guard.detectors import Answered, Scored
from gateway.guard.feedback import RecentAnswers
from gateway.guard.panel import Panel
from gateway.guard.values import CheckKind, CheckRule, GuardRule
from gateway.routing.table import BASE_TARGET, Decision, Reason, Route


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def decision(workflow: str = "w") -> Decision:
    return Decision(workflow, BASE_TARGET, Reason.ROUTE, 1, Route(workflow, BASE_TARGET))


@given(
    st.integers(0, 4),
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 4)), max_size=40),
)
def test_it_remembers_the_newest_answers_within_size_and_age_and_no_others(
    size: int, noted: list[tuple[str, int]]
) -> None:
    clock = Clock()
    recent = RecentAnswers(size, 10, clock)
    at: dict[str, float] = {}
    for request_id, wait_s in noted:
        clock.now += wait_s
        recent.note(request_id, decision(request_id))
        at.pop(request_id, None)
        at[request_id] = clock.now
        assert len(recent) <= size
    young = [key for key in list(at)[-size:] if clock.now - at[key] <= 10] if size else []
    for key in "abcdefgh":
        found = recent.find(key)
        assert (found is not None) == (key in young)
        assert found is None or found.workflow == key


def test_an_answer_is_forgotten_at_its_age_also_where_none_follows_it() -> None:
    clock = Clock()
    recent = RecentAnswers(9, 10, clock)
    recent.note("a", decision())
    clock.now = 10.5
    assert recent.find("a") is None


def test_the_first_feedback_counts_once_and_another_score_is_refused() -> None:
    recent = RecentAnswers(9, 10, Clock())
    recent.note("a", decision())
    assert recent.rate("a", 0.0)
    assert not recent.rate("a", 0.0)
    with pytest.raises(NotAllowed, match="the first one counts"):
        recent.rate("a", 1.0)


def test_an_id_that_a_client_uses_again_names_the_newer_answer() -> None:
    recent = RecentAnswers(9, 10, Clock())
    recent.note("a", decision("old"))
    recent.rate("a", 0.0)
    recent.note("a", decision("new"))
    found = recent.find("a")
    assert found is not None
    assert found.workflow == "new"
    assert recent.rate("a", 1.0)


def test_feedback_is_scored_by_its_check_alone_and_answers_by_the_others() -> None:
    rule = GuardRule((CheckRule(CheckKind.EMPTY), CheckRule(CheckKind.FEEDBACK, reference=0.1)))
    panel = Panel(rule, None)
    assert panel.score(Scored(CheckKind.FEEDBACK, 0.25)) == [None, 0.25]
    assert panel.score(Answered("text", "ok")) == [0.0, None]
