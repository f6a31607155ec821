"""`serve --model` with other families' folders and in bfloat16: it starts, answers, and tunes."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from gateway.registry.store import Registry
from tests import tiny
from tests.gateway.process.served import serve

ROUTES = """\
version: 1
workflows:
  tuned: {target: mine@1, temperature: 0}
"""


@pytest.mark.parametrize(("family", "dtype"), [("qwen2", "float32"), ("gemma3_text", "bfloat16")])
async def test_another_familys_folder_is_served_with_its_adapter(
    tmp_path: Path, family: str, dtype: str
) -> None:
    model = tiny.make_tiny_model(tmp_path / "model", family)
    folder = tiny.make_tiny_adapter(tmp_path / "adapter", model)
    tiny.publish(Registry(tmp_path / "registry"), folder, "mine@1", model)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    gateway = await serve(tmp_path, tmp_path, dtype=dtype)
    try:
        status = (await gateway.order("GET", "/status")).json()["engine"]
        assert (status["dtype"], status["device"]) == (dtype, "cpu")
        assert status["architecture"].lower().startswith(family.split("_")[0])
        scores = {}
        async with httpx.AsyncClient(base_url=gateway.inference, timeout=60) as http:
            for workflow in ("base", "tuned"):
                body = {
                    "model": workflow,
                    "messages": [{"role": "user", "content": "the quick brown fox"}],
                    "max_tokens": 12,
                    "temperature": 0,
                    "logprobs": True,
                }
                answer = await http.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                content = answer.json()["choices"][0]["logprobs"]["content"]
                scores[workflow] = [token["logprob"] for token in content]
                assert answer.headers["x-gateway-target"] == (
                    "mine@1" if workflow == "tuned" else "base"
                )
        # A random model may say one token over and over; how sure it is of it tells them apart.
        assert scores["base"] != scores["tuned"]
    finally:
        await gateway.kill()
