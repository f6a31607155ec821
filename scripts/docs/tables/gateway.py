"""What the gateway itself costs, beside its peers: benchmarks/results/gateway.json."""

from __future__ import annotations

from typing import Any

from scripts.docs.figures import NOT_READ, number, result, source
from scripts.docs.markdown import table


def gateway() -> str:
    """Requests a second and core, and added latency, at each number of connections."""
    read = result("gateway")
    if read is None:
        return NOT_READ
    gateways: dict[str, Any] = read["figures"]["gateways"]
    rows: list[tuple[str, ...]] = []
    for name, figures in gateways.items():
        if name == "direct":
            continue
        for how in ("whole", "stream"):
            for connections, row in figures[how].items():
                if row["p50_ms"] is None:
                    rows.append((name, how, connections, "-", "-", "-", "-", str(row["failed"])))
                    continue
                rows.append(
                    (
                        name,
                        how,
                        connections,
                        number(row["per_core_second"], 0),
                        number(row["added_p50_ms"], 2),
                        number(row["added_p95_ms"], 2),
                        number(row["added_p99_ms"], 2),
                        str(row["failed"]),
                    )
                )
    head = (
        "gateway",
        "answers",
        "connections",
        "requests/s a core",
        "added p50, ms",
        "added p95",
        "added p99",
        "failed",
    )
    text = table(head, rows)
    text += _beside_litellm(gateways)
    slow = read["figures"].get("slow_streams")
    if slow:
        text += (
            f"\n{slow['open_at_once']} slow streams at once through one process of this gateway: "
            f"{slow['whole']} of {slow['streams']} whole, {slow['dropped']} dropped, "
            f"{number(slow['kib_a_stream'], 0)} KiB a stream.\n"
        )
    return text + "\n" + source("gateway", read)


def _beside_litellm(gateways: dict[str, Any]) -> str:
    """How often LiteLLM's requests a second this gateway does, and what part of its added p99."""
    ours, theirs = gateways.get("this gateway"), gateways.get("LiteLLM proxy")
    if ours is None or theirs is None:
        return ""
    pairs = [
        (ours[how][n], theirs[how][n])
        for how in ("whole", "stream")
        for n in ours[how]
        if n in theirs[how]
    ]
    times = [a["per_core_second"] / b["per_core_second"] for a, b in pairs if b["per_core_second"]]
    parts = [
        a["added_p99_ms"] / b["added_p99_ms"]
        for a, b in pairs
        if a["p99_ms"] is not None and b["p99_ms"] is not None
    ]
    if not times or not parts:
        return ""
    return (
        f"\nBeside LiteLLM's proxy: {number(min(times), 1)} to {number(max(times), 1)} times its "
        f"requests a second and core, {number(min(parts), 2)} to {number(max(parts), 2)} of its "
        "added p99. FastAPI and aiohttp alone decide, tokenize and count nothing; vllm-router is "
        "written in Rust and passes requests on as they are.\n"
    )
