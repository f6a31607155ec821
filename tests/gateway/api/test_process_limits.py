"""Limits that protect the process, over real sockets: what is too large, too slow or too long."""

from __future__ import annotations

import asyncio
import json
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import trustme

from gateway.cli.client import AdminClient, Refused
from gateway.errors import BadInput
from gateway.serve import Gateway
from gateway.settings import read_settings
from tests.gateway.conftest import World, settings_for, slow_down, start

ASK = {"model": "triage", "messages": [{"role": "user", "content": "fox"}], "max_tokens": 2}


@pytest.fixture
async def strict(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    """A gateway with small limits."""
    running = await start(
        tiny_files,
        tmp_path,
        head_timeout_s=0.3,
        head_limit_bytes=2048,
        body_timeout_s=0.3,
        body_limit_bytes=4096,
        max_prompt_tokens=40,
    )
    yield running
    await running.gateway.stop()


async def connect(world: World) -> tuple[StreamReader, StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", world.gateway.ports[0])


async def rest(reader: StreamReader) -> tuple[int, str]:
    """Status and error code of what the gateway says before it closes the connection."""
    async with asyncio.timeout(20):
        said = await reader.read()
    head, _, body = said.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


async def serves(world: World) -> bool:
    async with httpx.AsyncClient(base_url=world.inference, timeout=20) as http:
        return (await http.get("/health/live")).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET /health/live HT", b"GET / HTTP/1.1\r\nhost: a\r\nx"])
async def test_a_client_that_does_not_finish_its_headers_is_sent_away(
    strict: World, sent: bytes
) -> None:
    reader, writer = await connect(strict)
    writer.write(sent)
    assert await serves(strict)  # others are served meanwhile
    assert await rest(reader) == (408, "request_too_slow")
    writer.close()


async def test_many_slow_clients_that_drip_bytes_are_all_sent_away(strict: World) -> None:
    async def drip(reader: StreamReader, writer: StreamWriter) -> tuple[int, str]:
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\n")
        answer = asyncio.ensure_future(rest(reader))
        while not answer.done():
            writer.write(b"x-drop: 1\r\n")
            await asyncio.wait({answer}, timeout=0.05)
        writer.close()
        try:
            return await answer
        except ConnectionResetError:  # its next drop came upon the closed connection
            return 408, "request_too_slow"

    pairs = [await connect(strict) for _ in range(40)]
    answers = asyncio.gather(*(drip(*pair) for pair in pairs))
    assert await serves(strict)
    assert set(await answers) <= {(408, "request_too_slow"), (431, "headers_too_large")}


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health/live HTTP/1.1\r\nhost: a\r\nx-large: " + b"a" * 3000 + b"\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\nhost: a\r\nx-without-end: " + b"a" * 3000,
        b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 600 + b"\r\n",
    ],
)
async def test_a_head_over_the_limit_is_refused(strict: World, head: bytes) -> None:
    reader, writer = await connect(strict)
    writer.write(head)
    assert await rest(reader) == (431, "headers_too_large")
    writer.close()


async def test_what_is_no_http_is_answered_with_an_error_object(strict: World) -> None:
    reader, writer = await connect(strict)
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert await rest(reader) == (400, "bad_request")
    writer.close()


async def test_a_body_that_does_not_arrive_in_time_is_refused_on_both_ports(
    strict: World,
) -> None:
    for port, path in zip(
        strict.gateway.ports, ("/v1/chat/completions", "/admin/v1/keys"), strict=True
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n"
            "content-type: application/json\r\nconnection: close\r\n\r\n{".encode()
        )
        assert await rest(reader) == (408, "request_too_slow")
        writer.close()


async def test_a_client_that_goes_on_sending_a_refused_body_is_cut_off(strict: World) -> None:
    reader, writer = await connect(strict)
    writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n")
    async with asyncio.timeout(20):
        assert b" 413 " in await reader.readline()
        closed = asyncio.ensure_future(reader.read())
        while not closed.done():
            writer.write(b"a" * 10)
            await asyncio.wait({closed}, timeout=0.02)
        await asyncio.gather(closed, return_exceptions=True)  # an end or a reset, either way


async def test_a_body_over_the_limit_is_refused_with_and_without_its_length(
    strict: World,
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"a" * 1000

    async with httpx.AsyncClient(base_url=strict.inference, timeout=20) as http:
        for content in (b"a" * 5000, pieces()):
            answer = await http.post("/v1/chat/completions", content=content)
            assert answer.status_code == 413
            assert answer.json()["error"]["code"] == "body_too_large"
            assert "4096 bytes" in answer.json()["error"]["message"]


async def test_a_connection_is_kept_for_many_requests_and_stray_line_ends(strict: World) -> None:
    reader, writer = await connect(strict)
    body = json.dumps(ASK).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    for _ in range(3):
        writer.write(head.encode() + body + b"\r\n")
        async with asyncio.timeout(20):
            assert b" 200 " in await reader.readline()
            headers = await reader.readuntil(b"\r\n\r\n")
            length = int(headers.split(b"content-length: ")[1].split(b"\r\n")[0])
            assert json.loads(await reader.readexactly(length))["object"] == "chat.completion"
    writer.close()


async def test_a_prompt_over_the_gateways_limit_names_it(strict: World) -> None:
    async with httpx.AsyncClient(base_url=strict.inference, timeout=20) as http:
        answer = await http.post(
            "/v1/completions", json={"model": "base", "prompt": [5] * 41, "max_tokens": 1}
        )
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
        assert "41 tokens; this gateway takes 40" in error["message"]


async def test_a_request_that_takes_too_long_is_ended_and_says_so(
    tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await start(tiny_files, tmp_path, request_timeout_s=0.4)
    slow_down(world, monkeypatch)
    try:
        api = openai.AsyncOpenAI(
            base_url=f"{world.inference}/v1", api_key="none", max_retries=0, timeout=30
        )
        asked: dict[str, Any] = {
            "model": "base",
            "messages": [{"role": "user", "content": "fox"}],
            "max_tokens": 400,
            "temperature": 0,
        }
        with pytest.raises(openai.InternalServerError) as caught:
            await api.chat.completions.create(**asked)
        assert caught.value.status_code == 504
        assert caught.value.code == "request_timeout"
        stream = await api.chat.completions.create(**asked, stream=True)
        with pytest.raises(openai.APIError, match=r"more than its 0\.4 s"):
            async for _ in stream:
                pass
        await world.until(lambda: world.gateway.engine.stats().running_rows == 0)
    finally:
        await world.gateway.stop()


async def test_both_ports_speak_tls_with_the_certificate(tiny_files: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made.cert_chain_pems[0].write_to_path(str(cert))
    made.private_key_pem.write_to_path(str(key))
    world = await start(tiny_files, tmp_path, tls_cert=str(cert), tls_key=str(key))
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    try:
        async with httpx.AsyncClient(verify=trusted, timeout=20) as http:
            inference, admin = world.gateway.ports
            answer = await http.post(f"https://127.0.0.1:{inference}/v1/chat/completions", json=ASK)
            assert answer.status_code == 200
            answer = await http.get(f"https://127.0.0.1:{admin}/admin/v1/routes")
            assert answer.status_code == 200
            with pytest.raises(httpx.TransportError):
                await http.get(f"http://127.0.0.1:{inference}/health/live")
        async with httpx.AsyncClient(timeout=20) as stranger:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await stranger.get(f"https://127.0.0.1:{inference}/health/live")

        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        url, trust = f"https://127.0.0.1:{admin}", {"GATEWAY_ADMIN_CA": str(tmp_path / "ca.pem")}
        command = AdminClient(url, trust)
        assert (await asyncio.to_thread(command.call, "GET", "/routes"))["revision"] == 1
        with pytest.raises(Refused, match="GATEWAY_ADMIN_CA names the authority"):
            await asyncio.to_thread(AdminClient(url, {}).call, "GET", "/routes")
    finally:
        await world.gateway.stop()


def test_a_certificate_that_cannot_be_used_stops_the_start(
    tiny_files: Path, tmp_path: Path
) -> None:
    file = tmp_path / "cert.pem"
    file.write_text("nothing of the kind")
    settings = settings_for(tiny_files, tmp_path, tls_cert=str(file), tls_key=str(file))
    with pytest.raises(BadInput, match=f"tls_cert {file}"):
        Gateway(settings)
    with pytest.raises(BadInput, match="tls_cert and tls_key go together"):
        read_settings({"tls_cert": str(file)}, environment={})
