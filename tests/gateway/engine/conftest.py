"""What the contract and the tests of real servers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.registry.store import Registry
from tests import tiny
from tests.gateway.engine.engine_process import EngineProcess
from tests.gateway.engine.real import HEAD_DIM, MAX_LEN, Files
from tests.gateway.engine.vllm_server import VllmServer, start_vllm

# Small, so that a test can fill it.
QUEUE = 8


@pytest.fixture(scope="session")
def contract_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("contract")
    model = tiny.make_tiny_model(root / "model", head_dim=HEAD_DIM)
    registry = Registry(root / "registry")
    adapters = [
        tiny.publish(
            registry, tiny.make_tiny_adapter(root / f"a{n}", model, seed=n), f"a@{n}", model
        )
        for n in (1, 2)
    ]
    return Files(root, model, adapters)


@pytest.fixture(scope="session")
def engine_process(contract_files: Files) -> Iterator[EngineProcess]:
    """One `gateway engine` for the session."""
    made = EngineProcess(contract_files.model, contract_files.root / "engine.log").start()
    yield made
    made.kill()


@pytest.fixture(scope="session")
def vllm_server(contract_files: Files) -> VllmServer:
    """One real vLLM server for the session; skips, with the reason, where there is none."""
    return start_vllm(contract_files.model, max_len=MAX_LEN, flags=_FLAGS)


@pytest.fixture(scope="session")
def second_vllm_server(contract_files: Files) -> VllmServer:
    """Another one."""
    return start_vllm(contract_files.model, max_len=MAX_LEN, flags=_FLAGS)


_FLAGS = ("--max-num-queued-reqs", str(QUEUE))
