"""Stops and crashes of a real process: nothing that was begun or acknowledged is lost."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.process.served import SLOW_STEPS, serve

# The process is killed the moment the disable is in the log, before anybody is told.
KILLED_AFTER_APPEND = """
import os, signal
from gateway.log.record import event_of
from gateway.log.sqlite import SqliteLog
from gateway.routing.events import RouteDisabled
extend = SqliteLog.extend
def last_act(self, records):
    extend(self, records)
    if any(isinstance(event_of(record).change, RouteDisabled) for record in records):
        os.kill(os.getpid(), signal.SIGKILL)
SqliteLog.extend = last_act
"""


def chat(**more: Any) -> dict[str, Any]:
    return {
        "model": "triage",
        "messages": [{"role": "user", "content": "fox"}],
        "max_tokens": 100,
        "temperature": 0,
        **more,
    }


async def test_a_stream_in_flight_finishes_at_sigterm_and_the_exit_is_clean(
    tiny_files: Path, tmp_path: Path
) -> None:
    gateway = await serve(tiny_files, tmp_path, prelude=SLOW_STEPS, grace_s=20)
    try:
        lines: list[str] = []
        async with (
            httpx.AsyncClient(base_url=gateway.inference, timeout=30) as http,
            http.stream("POST", "/v1/chat/completions", json=chat(stream=True)) as answer,
        ):
            async for line in answer.aiter_lines():
                if not lines:
                    gateway.process.send_signal(signal.SIGTERM)
                lines += [line] if line else []
        assert lines[-1] == "data: [DONE]"
        assert '"finish_reason": "' in lines[-2]
        assert await gateway.ended() == 0
    finally:
        await gateway.kill()


async def test_a_stream_that_outlasts_the_grace_time_is_ended_by_name(
    tiny_files: Path, tmp_path: Path
) -> None:
    gateway = await serve(tiny_files, tmp_path, prelude=SLOW_STEPS, grace_s=0.2)
    try:
        text = ""
        async with (
            httpx.AsyncClient(base_url=gateway.inference, timeout=30) as http,
            http.stream(
                "POST", "/v1/chat/completions", json=chat(stream=True, max_tokens=400, n=4)
            ) as answer,
        ):
            async for chunk in answer.aiter_text():
                if not text:
                    gateway.process.send_signal(signal.SIGTERM)
                text += chunk
        assert "event: error" in text
        assert "stopping" in text
        assert "[DONE]" not in text
        assert await gateway.ended() == 0
    finally:
        await gateway.kill()


async def test_a_disable_survives_sigkill_between_append_and_acknowledgement(
    tiny_files: Path, tmp_path: Path
) -> None:
    gateway = await serve(tiny_files, tmp_path, prelude=KILLED_AFTER_APPEND)
    try:
        with pytest.raises(httpx.TransportError):
            await gateway.order("POST", "/workflows/triage/disable", reason="wrong answers")
        assert await gateway.ended() == -signal.SIGKILL
    finally:
        await gateway.kill()
    gateway = await serve(tiny_files, tmp_path)
    try:
        routes = (await gateway.order("GET", "/routes")).json()
        assert routes["revision"] == 2
        route = routes["workflows"]["triage"]
        assert (route["target"], route["reason"]) == ("base", "disabled")
        assert route["override"]["disabled"]["reason"] == "wrong answers"
        async with httpx.AsyncClient(base_url=gateway.inference, timeout=30) as http:
            answer = await http.post("/v1/chat/completions", json=chat(max_tokens=4))
        assert answer.headers["x-gateway-target"] == "base"
        assert answer.headers["x-gateway-reason"] == "disabled"
    finally:
        await gateway.kill()


async def test_no_answer_comes_from_a_model_not_allowed_at_its_revision(
    tiny_files: Path, tmp_path: Path
) -> None:
    gateway = await serve(tiny_files, tmp_path, max_queue=64)
    try:
        text = (tmp_path / "routes.yaml").read_text().replace("triage@1", "triage@2")
        done = await gateway.order("PUT", "/table", text=text)
        assert done.status_code == 200
        statuses: list[int] = []

        async def operator(number: int) -> None:
            actor = f"operator-{number}"
            for verb in ("disable", "enable", "rollback", "resume") * 3:
                answer = await gateway.order(
                    "POST", f"/workflows/triage/{verb}", reason="race", actor=actor
                )
                statuses.append(answer.status_code)

        answers: list[httpx.Response] = []

        async def client() -> None:
            async with httpx.AsyncClient(base_url=gateway.inference, timeout=60) as http:
                for _ in range(12):
                    body = chat(max_tokens=2)
                    answers.append(await http.post("/v1/chat/completions", json=body))

        await asyncio.gather(*(operator(n) for n in range(4)), *(client() for _ in range(4)))
        assert set(statuses) <= {200, 409}
        assert statuses.count(200) >= 4
        assert {answer.status_code for answer in answers} == {200}
        allowed: dict[str, dict[str, str]] = {}
        for answer in answers:
            revision = answer.headers["x-gateway-revision"]
            if revision not in allowed:
                table = (await gateway.order("GET", f"/revisions/{revision}")).json()["table"]
                allowed[revision] = table["triage"]
            told = (answer.headers["x-gateway-target"], answer.headers["x-gateway-reason"])
            assert told == (allowed[revision]["target"], allowed[revision]["reason"])
    finally:
        await gateway.kill()
