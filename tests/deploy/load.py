"""Clients of a stack under test, as an application would be one: whole answers and streams, of
every workflow, at every gateway; and what must be true of each answer."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

TOKENS = 60


@dataclass(frozen=True)
class Answered:
    """One answer. `asked` is the clock before it was sent."""

    asked: float
    workflow: str
    target: str
    reason: str
    prompt: str
    text: str
    whole: bool  # false: a stream that ended with an error event


@dataclass
class Load:
    """Threads that ask in turn, for ever. `expected` is how each target's answer to each prompt
    begins.

    A gateway that is gone is no failure: the client asks the other one, as a load balancer would.
    Everything else is: an answer other than 200, a stream that is cut, a text of another model.
    """

    bases: Sequence[str]
    workflows: Sequence[str]
    expected: Mapping[tuple[str, str], str]  # by target and prompt
    answers: list[Answered] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    dying: set[str] = field(default_factory=set)  # gateways' addresses; `engine` while one is
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Two threads ask for whole answers, two for streams."""
        for number, how in enumerate((self._whole, self._streamed) * 2):
            thread = threading.Thread(target=self._run, args=(number, how), daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Let the last answers come to their end."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def since(self, moment: float) -> list[Answered]:
        """The answers to what was asked after it."""
        return [one for one in list(self.answers) if one.asked > moment]

    def _run(self, number: int, ask: Callable[[httpx.Client, str, str, str], None]) -> None:
        prompts = sorted({prompt for _, prompt in self.expected})
        turns = itertools.count(number)
        with httpx.Client(timeout=60, trust_env=False) as http:
            while not self._stop.is_set():
                turn = next(turns)
                workflow = self.workflows[turn % len(self.workflows)]
                prompt = prompts[turn // 2 % len(prompts)]
                first = turn // 3 % 2
                for base in (self.bases[first], self.bases[1 - first]) * 2:
                    excused = base in self.dying
                    try:
                        ask(http, base, workflow, prompt)
                        break
                    except httpx.TransportError as error:
                        if not excused and base not in self.dying:
                            self.failed.append(f"{base} {workflow}: {error!r}")
                else:
                    self.failed.append(f"{workflow}: no gateway answers")

    def _whole(self, http: httpx.Client, base: str, workflow: str, prompt: str) -> None:
        asked = time.monotonic()
        body = {"model": workflow, "prompt": prompt, "max_tokens": TOKENS}
        answer = http.post(f"{base}/v1/completions", json=body)
        if answer.status_code != 200:
            self.failed.append(f"{base} {workflow}: {answer.status_code} {answer.text}")
            return
        text = answer.json()["choices"][0]["text"]
        self._note(asked, answer, prompt, text, whole=True)

    def _streamed(self, http: httpx.Client, base: str, workflow: str, prompt: str) -> None:
        asked, excused = time.monotonic(), "engine" in self.dying
        body = {"model": workflow, "prompt": prompt, "max_tokens": TOKENS, "stream": True}
        text, ended = "", ""
        with http.stream("POST", f"{base}/v1/completions", json=body) as answer:
            if answer.status_code != 200:
                answer.read()
                self.failed.append(f"{base} {workflow}: {answer.status_code} {answer.text}")
                return
            for line in answer.iter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    ended = "whole"
                    continue
                event = json.loads(line.removeprefix("data: "))
                if "error" in event:
                    ended = "error"
                else:
                    text += event["choices"][0]["text"]
        if not ended:
            self.failed.append(f"{base} {workflow}: a stream was cut without a word")
        elif ended == "error" and not excused and "engine" not in self.dying:
            self.failed.append(f"{base} {workflow}: a stream failed while every engine was well")
        self._note(asked, answer, prompt, text, whole=ended == "whole")

    def _note(
        self, asked: float, answer: httpx.Response, prompt: str, text: str, *, whole: bool
    ) -> None:
        heads = answer.headers
        target = heads["x-gateway-target"]
        one = Answered(
            *(asked, heads["x-gateway-workflow"], target, heads["x-gateway-reason"]),
            *(prompt, text, whole),
        )
        meant = self.expected[target, prompt]
        if not text.startswith(meant) and (whole or not meant.startswith(text)):
            self.failed.append(f"{target} was named, and said {text!r} to {prompt!r}")
        self.answers.append(one)
