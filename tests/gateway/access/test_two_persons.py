"""The two-person rule on the log's state alone."""

from __future__ import annotations

import pytest

from gateway.access import commands, two_persons
from gateway.access.secret import new_key
from gateway.access.values import OperatorGrant, Role
from gateway.errors import KeyNotAllowed
from gateway.routing.events import AdapterRegistered, Change, Event
from gateway.routing.fold import RoutingState, fold
from gateway.routing.table import AdapterRef

REF = AdapterRef("triage", "1")


class Story:
    """A log that is told event by event."""

    def __init__(self) -> None:
        self.state = RoutingState()

    def add(self, change: Change, actor: str) -> None:
        self.state = fold(
            self.state, Event(self.state.revision + 1, change, actor, "", 1.0, "", "")
        )

    def key(self, name: str, maker: str = "root") -> str:
        key, _ = new_key(name, OperatorGrant(Role.APPROVER))
        self.add(commands.create(self.state, key), maker)
        return key.actor

    def registers(self, actor: str) -> None:
        self.add(AdapterRegistered(REF, "d"), actor)

    def refuses(self, actor: str) -> bool:
        try:
            two_persons.check(self.state, REF, "d", actor)
        except KeyNotAllowed as error:
            return error.code == "two_person"
        return False


@pytest.fixture
def story() -> Story:
    return Story()


def test_who_registered_does_not_approve_and_another_does(story: Story) -> None:
    ada, ben = story.key("ada"), story.key("ben")
    story.registers(ada)
    assert story.refuses(ada)
    assert not story.refuses(ben)


def test_keys_that_one_key_made_are_one_person_however_far(story: Story) -> None:
    ada, ben = story.key("ada"), story.key("ben")
    one, two = story.key("one", ada), story.key("two", ada)
    three = story.key("three", two)
    story.registers(three)
    assert [story.refuses(actor) for actor in (ada, one, two, three, ben)] == [True] * 4 + [False]


def test_nobody_approves_without_a_key_or_what_nobody_registered(story: Story) -> None:
    ada, ben = story.key("ada"), story.key("ben")
    assert story.refuses(ben)
    story.registers(ada)
    assert story.refuses("root")


def test_registering_again_under_another_key_does_not_wash_the_first_off(story: Story) -> None:
    ada, ben = story.key("ada"), story.key("ben")
    story.registers(ada)
    story.registers(ben)
    assert story.refuses(ada)
    assert not story.refuses(ben)
