"""The load on a gateway: connections that each ask again as soon as they are answered.

Bare asyncio streams, one process, so that the same generator is fast enough for every gateway.
Prints JSON: latencies in seconds, failures, seconds measured.
Usage: python -m benchmarks.gateway_load URL MODEL CONNECTIONS SECONDS stream|whole
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

TOKENS = 16
_PROMPT = (
    "A customer writes that the printer on the second floor prints every page twice since the last "
    "update, and asks whether the old driver may be put back. Which team is this ticket for?"
)
_WARM_S = 1.0


def request(host: str, model: str, *, stream: bool) -> bytes:
    body = json.dumps(
        {
            "model": model,
            "messages": [{"role": "user", "content": _PROMPT}],
            "max_tokens": TOKENS,
            "temperature": 0,
            "stream": stream,
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer sk-bench\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read one whole answer; its body. Raises ValueError for a status that is not 200."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(
        (int(x.split(":")[1]) for x in head.split("\r\n") if x.startswith("content-length:")), None
    )
    if length is not None:
        body = await reader.readexactly(length)
    else:
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        body = b"".join(parts)
    if not head.startswith("http/1.1 200"):
        raise ValueError(body.decode(errors="replace")[:300])
    return body


async def client(
    url: str, asked: bytes, stream: bool, begin: float, end: float, found: list[float]
) -> list[str]:
    """Ask from now until `end`, and note what was asked after `begin`. What failed."""
    at = urlsplit(url)
    failed: list[str] = []
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        while (sent := time.perf_counter()) < end:
            writer.write(asked)
            body = await answer(reader)
            if stream and not body.rstrip().endswith(b"data: [DONE]"):
                raise ValueError(f"a stream without its end: {body[-100:]!r}")
            if sent >= begin:
                found.append(time.perf_counter() - sent)
    except (OSError, ValueError, EOFError) as error:
        failed.append(repr(error))
    finally:
        writer.close()
    return failed


async def main(url: str, model: str, connections: int, seconds: float, how: str) -> None:
    asked = request(urlsplit(url).netloc, model, stream=how == "stream")
    begin = time.perf_counter() + _WARM_S
    found: list[float] = []
    failed = await asyncio.gather(
        *(
            client(url, asked, how == "stream", begin, begin + seconds, found)
            for _ in range(connections)
        )
    )
    said = [each for of_one in failed for each in of_one]
    print(json.dumps({"latencies": found, "failed": said, "seconds": seconds}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
