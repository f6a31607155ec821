"""Thousands of slow streams at once through one process: are all held, and what does each take?"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.gateway_load import request

_RAMP_PER_S = 400  # new streams a second


async def _stream(url: str, asked: bytes, tokens: int, open_now: list[int]) -> str:
    """One stream to its end; what was wrong with it, or nothing."""
    at = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            return (head + await reader.read(300)).decode(errors="replace")
        open_now[0] += 1
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            part = await reader.read(65536)
            if not part:
                return f"it ended early: {body[-120:]!r}"
            body += part
        writer.close()
        open_now[0] -= 1
        events = body.count(b'"content"')
        return "" if events >= tokens and b"[DONE]" in body else f"{events} events of {tokens}"
    except (OSError, EOFError) as error:
        return repr(error)


async def _hold(
    url: str, model: str, streams: int, tokens: int, gateway: psutil.Process
) -> dict[str, Any]:
    asked = request(urlsplit(url).netloc, model, stream=True)
    asked = asked.replace(b'"max_tokens": 16', b'"max_tokens": %d' % tokens)
    open_now = [0]
    before = gateway.memory_info().rss
    tasks: list[asyncio.Task[str]] = []
    most, rss = 0, before
    begun = time.perf_counter()

    async def watch() -> None:
        nonlocal most, rss
        while True:
            if open_now[0] > most:
                most, rss = open_now[0], gateway.memory_info().rss
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    for _ in range(streams):
        tasks.append(asyncio.create_task(_stream(url, asked, tokens, open_now)))
        await asyncio.sleep(1 / _RAMP_PER_S)
    said = await asyncio.gather(*tasks)
    watching.cancel()
    wrong = [each for each in said if each]
    return {
        "streams": streams,
        "tokens_each": tokens,
        "open_at_once": most,
        "whole": streams - len(wrong),
        "dropped": len(wrong),
        "errors": wrong[:3],
        "rss_before_mib": round(before / 2**20, 1),
        "rss_at_most_open_mib": round(rss / 2**20, 1),
        "kib_a_stream": round((rss - before) / 1024 / max(1, most), 1),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def hold(
    url: str, model: str, streams: int, tokens: int, gateway: psutil.Process
) -> dict[str, Any]:
    """Open `streams` streams, read all to their end; memory is the gateway's resident set where
    most were open."""
    return asyncio.run(_hold(url, model, streams, tokens, gateway))
