"""Traces of the whole gateway, as a collector gets them."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.engine.base import GenerationRequest
from gateway.engine.stream import DeltaStream
from gateway.errors import BadInput, EngineFault
from gateway.serve import Gateway
from gateway.settings import read_settings
from tests.gateway.conftest import World, settings_for, slow_down, start
from tests.gateway.engine.engine_process import EngineProcess
from tests.gateway.engine.upstream.scripted import ScriptedServer
from tests.gateway.tracing.collector import Collector, Received

INTERNAL, SERVER, CLIENT = 1, 2, 3
SECRET = "the quick brown fox"
PARENT = f"00-{'ab' * 16}-{'cd' * 8}-01"
UNSAMPLED = f"00-{'ab' * 16}-{'cd' * 8}-00"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture
async def traced(collector: Collector, tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    running = await start(tiny_files, tmp_path, otel_endpoint=collector.url, replica="one")
    yield running
    await running.gateway.stop()


async def ask(world: World, workflow: str = "triage", **more: object) -> httpx.Response:
    headers = more.pop("headers", {})
    assert isinstance(headers, dict)
    body = {"model": workflow, "messages": [{"role": "user", "content": SECRET}], "max_tokens": 3}
    async with httpx.AsyncClient(base_url=world.inference, timeout=60) as http:
        return await http.post("/v1/chat/completions", json=body | more, headers=headers)


async def told(world: World, collector: Collector) -> list[Received]:
    """Everything that the gateway has to tell: at a stop it sends what waits."""
    await world.gateway.stop()
    return collector.spans


async def test_a_request_is_a_server_span_with_the_engines_span_inside(
    traced: World, collector: Collector
) -> None:
    answer = await ask(traced, headers={"x-request-id": "r-1"}, temperature=0, seed=7)
    await told(traced, collector)
    assert collector.paths == ["/v1/traces"]
    (request,), (engine,) = collector.of_kind(SERVER), collector.of_kind(INTERNAL)
    assert request.name == "POST /v1/chat/completions"
    assert request.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gateway.request_id": "r-1",
        "gateway.workflow": "triage",
        "gateway.target": "triage@1",
        "gateway.revision": int(answer.headers["x-gateway-revision"]),
        "gateway.reason": "route",
    }
    assert (engine.trace, engine.parent, request.parent) == (request.trace, request.id, "")
    assert engine.name == "chat triage@1"
    usage, said = answer.json()["usage"], dict(engine.attributes)
    assert said.pop("gen_ai.response.time_to_first_chunk") > 0
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "model-routing-gateway",
        "gen_ai.request.model": "triage@1",
        "gen_ai.request.max_tokens": 3,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.seed": 7,
        "gen_ai.output.type": "text",
        "gen_ai.response.model": "triage@1",
        "gen_ai.response.finish_reasons": [answer.json()["choices"][0]["finish_reason"]],
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "gateway.request_id": "r-1",
        "gateway.workflow": "triage",
        "gateway.target": "triage@1",
        "gateway.revision": int(answer.headers["x-gateway-revision"]),
        "gateway.attempt": 1,
    }
    assert engine.resource["service.name"] == "model-routing-gateway"
    assert engine.resource["service.instance.id"] == "one"


async def test_no_span_holds_a_word_of_prompt_or_answer(
    traced: World, collector: Collector
) -> None:
    whole = await ask(traced, user="somebody@example.org", headers={"authorization": "Bearer x"})
    streamed = await ask(traced, "facts", stream=True, max_tokens=20)
    assert streamed.status_code == whole.status_code == 200
    said = json.dumps([repr(span) for span in await told(traced, collector)])
    answered = whole.json()["choices"][0]["message"]["content"]
    for secret in (SECRET, "fox", "somebody", "Bearer", answered):
        assert secret not in said


async def test_the_callers_trace_goes_on(traced: World, collector: Collector) -> None:
    await ask(traced, headers={"traceparent": PARENT})
    await ask(traced, headers={"traceparent": UNSAMPLED})
    await told(traced, collector)
    (request,) = collector.of_kind(SERVER)
    assert (request.trace, request.parent) == ("ab" * 16, "cd" * 8)


async def test_a_fallback_is_two_engine_spans_and_the_failed_one_says_why(
    collector: Collector, tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "routes.yaml").write_text(
        "version: 1\nworkflows:\n  triage:\n    target: triage@2\n    fallback: triage@1\n"
        "    on_error: [engine]\n"
    )
    world = await start(tiny_files, tmp_path, otel_endpoint=collector.url)
    generate = world.engine.generate

    def failing(request: GenerationRequest) -> DeltaStream:
        if request.adapter is not None and request.adapter.ref.version == "2":
            raise EngineFault("no")
        return generate(request)

    monkeypatch.setattr(world.engine, "generate", failing)
    assert (await ask(world)).status_code == 200
    await told(world, collector)
    (request,), engines = collector.of_kind(SERVER), collector.of_kind(INTERNAL)
    first, second = sorted(engines, key=lambda span: span.attributes["gateway.attempt"])
    assert (first.name, first.failed) == ("chat triage@2", True)
    assert first.attributes["error.type"] == EngineFault.code
    assert (second.name, second.failed) == ("chat triage@1", False)
    assert request.attributes["gateway.fallback"] == ["triage@2;engine"]
    assert not request.failed
    assert "error.type" not in request.attributes


async def test_a_refusal_is_a_span_without_an_engines(traced: World, collector: Collector) -> None:
    assert (await ask(traced, "nowhere")).status_code == 404
    async with httpx.AsyncClient(base_url=traced.inference) as http:
        assert (await http.get("/v1/made/up/path")).status_code == 404
        assert (await http.get("/health/ready")).status_code == 200
    spans = await told(traced, collector)
    assert [(span.name, span.attributes["http.response.status_code"]) for span in spans] == [
        ("POST /v1/chat/completions", 404),
        ("GET", 404),  # never a path that somebody made up
    ]
    assert not any(span.failed for span in spans)


async def test_a_reader_that_leaves_ends_the_spans(
    traced: World, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_down(traced, monkeypatch)
    body: dict[str, object] = {"model": "triage", "max_tokens": 300}
    body["messages"] = [{"role": "user", "content": "x"}]
    body["stream"] = True
    async with (
        httpx.AsyncClient(base_url=traced.inference) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        async for _ in answer.aiter_lines():
            break
    await traced.until(lambda: traced.engine.stats().running_rows == 0)
    await told(traced, collector)
    (engine,) = collector.of_kind(INTERNAL)
    assert engine.attributes["gen_ai.response.finish_reasons"] == ["cancelled"]
    assert len(collector.of_kind(SERVER)) == 1


# Over servers.


@pytest.fixture
async def servers() -> AsyncIterator[list[ScriptedServer]]:
    made = [ScriptedServer() for _ in range(2)]
    for server in made:
        await server.start()
    yield made
    for server in made:
        await server.kill()


@pytest.fixture
async def over(
    servers: list[ScriptedServer], collector: Collector, tiny_files: Path, tmp_path: Path
) -> AsyncIterator[World]:
    running = await start(
        tiny_files,
        tmp_path,
        engine="upstream",
        servers=",".join(server.url for server in servers),
        server_retry_share=1,
        otel_endpoint=collector.url,
    )
    yield running
    await running.gateway.stop()


async def test_each_try_on_a_server_is_a_span_that_the_servers_own_trace_joins(
    over: World, collector: Collector, servers: list[ScriptedServer]
) -> None:
    for server in servers:
        server.script.refuse = 503
    first = await ask(over)
    assert first.status_code == 429
    for server in servers:
        server.script.refuse = 0
    assert (await ask(over, headers={"traceparent": PARENT})).status_code == 200
    await told(over, collector)
    failed, well = sorted(collector.of_kind(INTERNAL), key=lambda span: not span.failed)
    tries = [span for span in collector.of_kind(CLIENT) if span.parent == failed.id]
    assert [span.name for span in tries] == ["POST /v1/completions"] * 2
    assert [span.attributes["http.request.resend_count"] for span in tries] == [0, 1]
    assert {span.attributes["error.type"] for span in tries} == {"full"}
    assert "gen_ai.response.finish_reasons" not in failed.attributes
    assert "gen_ai.response.model" not in failed.attributes
    assert {span.attributes["server.port"] for span in tries} == {one.port for one in servers}
    (last,) = [span for span in collector.of_kind(CLIENT) if span.parent == well.id]
    assert not last.failed
    assert well.attributes["gen_ai.provider.name"] == "vllm"
    sent = [parent for server in servers for parent in server.parents]
    assert f"00-{'ab' * 16}-{last.id}-01" in sent
    assert len(set(sent)) == 3


async def test_an_engine_server_joins_the_trace_and_its_checks_are_none(
    collector: Collector, tiny_files: Path, tmp_path: Path
) -> None:
    flags = ("--otel-endpoint", collector.url, "--otel-service", "engine")
    server = EngineProcess(tiny_files / "model", tmp_path / "engine.log", flags)
    await asyncio.to_thread(server.start)
    try:
        world = await start(
            tiny_files,
            tmp_path,
            engine="upstream",
            servers=server.url,
            otel_endpoint=collector.url,
        )
        assert (await ask(world)).status_code == 200
        await told(world, collector)
    finally:
        server.signal(signal.SIGTERM)
        await asyncio.to_thread(server.ended)
    (tried,) = collector.of_kind(CLIENT)
    (answered,) = (s for s in collector.of_kind(SERVER) if s.resource["service.name"] == "engine")
    assert (answered.trace, answered.parent) == (tried.trace, tried.id)
    assert answered.name == "POST /v1/completions"


async def test_without_tracing_servers_get_no_trace(
    servers: list[ScriptedServer], tiny_files: Path, tmp_path: Path
) -> None:
    urls = ",".join(server.url for server in servers)
    world = await start(tiny_files, tmp_path, engine="upstream", servers=urls)
    try:
        await ask(world, headers={"traceparent": PARENT})
    finally:
        await world.gateway.stop()
    assert [parent for server in servers for parent in server.parents] == [""]


# The way to the collector.


async def test_a_collector_that_is_away_or_broken_costs_no_request(
    tiny_files: Path, tmp_path: Path, collector: Collector
) -> None:
    collector.status = 500
    for place in ("http://127.0.0.1:9", collector.url):
        world = await start(tiny_files, tmp_path, otel_endpoint=place)
        assert (await ask(world)).status_code == 200
        await world.gateway.stop()
    assert collector.spans == []


async def test_a_stop_does_not_wait_for_a_collector_that_hangs(
    tiny_files: Path, tmp_path: Path, collector: Collector
) -> None:
    collector.hold = threading.Event()
    world = await start(tiny_files, tmp_path, otel_endpoint=collector.url, grace_s=0.2)
    assert (await ask(world)).status_code == 200
    async with asyncio.timeout(4):  # less than one export may take
        await world.gateway.stop()


async def test_no_request_is_traced_at_a_share_of_none(
    tiny_files: Path, tmp_path: Path, collector: Collector
) -> None:
    world = await start(tiny_files, tmp_path, otel_endpoint=collector.url, otel_share=0)
    await ask(world)
    await ask(world, headers={"traceparent": PARENT})  # its caller has decided
    spans = await told(world, collector)
    assert {span.trace for span in spans} == {"ab" * 16}


async def test_a_provider_that_the_process_has_gets_no_spans_of_the_frameworks_own(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    assert (await ask(world)).status_code == 200
    assert (await ask(world, max_tokens="a secret")).status_code == 400
    assert (await world.order("GET", "/status")).status_code == 200
    assert kept.get_finished_spans() == ()


# The settings.


def test_the_standard_variable_names_the_collector_and_the_gateways_own_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    standard = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}
    assert read_settings({}, environment=standard).otel_endpoint == "http://a:4318"
    both = standard | {"GATEWAY_OTEL_ENDPOINT": "http://b:4318"}
    assert read_settings({}, environment=both).otel_endpoint == "http://b:4318"
    with pytest.raises(BadInput, match="from OTEL_EXPORTER_OTLP_ENDPOINT"):
        read_settings({}, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "a:4318"})


def test_a_start_without_the_packages_names_them(
    tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gateway.tracing.otel", None)
    settings = settings_for(tiny_files, tmp_path, otel_endpoint="http://127.0.0.1:4318")
    with pytest.raises(BadInput, match=r"model-routing-gateway\[otel\]"):
        Gateway(settings)


OFF = """
import sys
import gateway.serve
from gateway.settings import Settings
from gateway.tracing.opening import open_tracing
assert open_tracing(Settings(), replica="") is None
print([name for name in sys.modules if name.startswith(tuple(sys.argv[1:]))])
"""


def test_without_the_setting_nothing_is_imported() -> None:
    watched = ("opentelemetry.exporter", "opentelemetry.sdk.trace", "gateway.tracing.")
    run = subprocess.run(
        [sys.executable, "-c", OFF, *watched], stdout=subprocess.PIPE, text=True, check=True
    )
    assert run.stdout.strip() == "['gateway.tracing.opening']"
