"""Which decision an answer was of, remembered for a while, so that feedback on it can be joined.

Bounded in number and in age. Belongs to one event loop: the request path notes answers, the
feedback endpoint finds them. Nothing of any text is here.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.errors import NotAllowed
from gateway.routing.table import Decision


@dataclass(slots=True, eq=False)
class _Answer:
    decision: Decision
    at: float
    score: float | None = None  # the feedback that counted


class RecentAnswers:
    """The last `size` answers of at most `age_s` seconds, by request id. The newest of an id that
    a client used twice is the one that counts."""

    def __init__(
        self, size: int, age_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.size = size
        self.age_s = age_s
        self._clock = clock
        self._answers: OrderedDict[str, _Answer] = OrderedDict()  # oldest first

    def __len__(self) -> int:
        return len(self._answers)

    def note(self, request_id: str, decision: Decision) -> None:
        """Remember an answer, and forget what is too old or too many."""
        now, answers = self._clock(), self._answers
        answers.pop(request_id, None)
        answers[request_id] = _Answer(decision, now)
        while answers:
            oldest = next(iter(answers.values()))
            if len(answers) <= self.size and now - oldest.at <= self.age_s:
                break
            answers.popitem(last=False)

    def find(self, request_id: str) -> Decision | None:
        """The decision of an answer that is still remembered."""
        answer = self._answers.get(request_id)
        if answer is None or self._clock() - answer.at > self.age_s:
            return None
        return answer.decision

    def rate(self, request_id: str, score: float) -> bool:
        """Note the feedback on an answer that `find` gave; whether it is the first.

        The first counts for good. A test by betting settles each bet when its score is seen: a
        score that could be replaced later, by whoever sees what came of it, has no bound on false
        alarms. Raises NotAllowed where another score was given before.
        """
        answer = self._answers[request_id]
        if answer.score is None:
            answer.score = score
            return True
        if answer.score != score:
            raise NotAllowed(
                f"request {request_id} has feedback of {answer.score:g} already, and the first one "
                f"counts; {score:g} was not taken",
                code="feedback_given",
            )
        return False
