"""`gateway status`: one look at the engine, the log, the file, and what is not as the file says."""

from __future__ import annotations

from typing import Any

import typer

from gateway.cli.canary_lines import canary_lines
from gateway.cli.client import AdminClient
from gateway.cli.options import ADMIN_URL, AdminUrl, AsJson
from gateway.cli.outcomes import by, coded, local_time, print_json

app = typer.Typer()


@app.command()
@coded
def status(admin_url: AdminUrl = ADMIN_URL, as_json: AsJson = False) -> None:
    """Engine, slots, log, file, overrides, and adapters that cannot be served."""
    client = AdminClient(admin_url)
    data = client.call("GET", "/status")
    if as_json:
        print_json(data)
        return
    workflows = client.call("GET", "/routes")["workflows"]
    for line in lines(data, workflows):
        print(line)


def lines(data: dict[str, Any], workflows: dict[str, Any]) -> list[str]:
    """The answers of `status` and `routes` as an operator reads them."""
    return [
        f"gateway    {data['version']}, serving revision {data['revision']}",
        *_engine(data["engine"], data["stats"]),
        *_log(data["log"]),
        *_registry(data["registry"]),
        *_fleet(data["replicas"]),
        *_file(data["routes_file"]),
        *_overrides(workflows),
        *canary_lines(workflows),
        *_gates(data["gates_overridden"]),
        *_adapters(data["unavailable_adapters"], data["adapters_not_servable"]),
    ]


def _engine(info: dict[str, Any], stats: dict[str, Any]) -> list[str]:
    health = "runs"
    if not stats["healthy"]:
        health = "HAS FAILED: restart the gateway; its log says why"
        if stats["servers"]:
            health = "NO SERVER TAKES REQUESTS; start one, it is used again by itself"
    dtype = f" ({info['dtype']})" if info["dtype"] else ""
    return [
        f"engine     {health}: {info['model']} on {info['device']}{dtype}",
        *(_server(server) for server in stats["servers"]),
        f"slots      {len(stats['resident_adapters'])} of {info['slots']} hold adapters, "
        f"{stats['adapter_load_failures']} loads failed since the start",
        f"load       {stats['running_rows']} of {info['max_rows']} rows run, "
        f"{stats['queue_depth']} of {info['max_queue']} requests wait",
    ]


def _log(state: dict[str, Any]) -> list[str]:
    lines = ["log        reachable"]
    if not state["ok"]:
        lines = [
            f"log        NOT REACHABLE for {state['stale_seconds']:.0f} s, the last good table is "
            f"served: {state['error']}"
        ]
    if state["owed"]:
        lines.append(f"           {state['owed']} orders are obeyed here ALONE until it is back")
    if state["copy_error"]:
        lines.append(f"           this replica's copy of it IS BEHIND: {state['copy_error']}")
    return lines


def _registry(state: str) -> list[str]:
    return [] if state == "ok" else [f"registry   AWAY, what is held is served on: {state}"]


def _fleet(replicas: list[dict[str, Any]]) -> list[str]:
    lines = []
    for one in replicas:
        health = "live" if one["live"] else f"LOST, last heard of {one['seen_s']:.0f} s ago"
        lines.append(
            f"replica    {one['replica']} {health}, revision {one['revision']}, {one['inference']}"
        )
        for workflow, waits in one["pending"].items():
            why = waits["error"] or "it is being loaded"
            lines.append(f"           {workflow} is PENDING for {waits['target']}: {why}")
    return lines


def _file(state: dict[str, Any]) -> list[str]:
    if state["ok"]:
        above = "" if state["in_force"] else "; a table applied over the API LIES ABOVE it"
        return [f"file       {state['path']}, accepted at {local_time(state['loaded_at'])}{above}"]
    return [
        f"file       {state['path']}, NOT ACCEPTED at {local_time(state['loaded_at'])}; "
        "the table before it is served:",
        *(f"           {_problem(problem)}" for problem in state["problems"]),
    ]


def _problem(problem: dict[str, Any]) -> str:
    place = f"{problem['line']}:{problem['column']}: " if problem["line"] else ""
    field = f"{problem['field']}: " if problem["field"] else ""
    return f"{place}{field}{problem['message']}"


def _overrides(workflows: dict[str, Any]) -> list[str]:
    found = []
    for name, route in workflows.items():
        for kind, hand in (route["override"] or {}).items():
            to = f" to revision {hand['to_revision']}" if kind == "pinned" else ""
            why = f": {hand['reason']}" if hand["reason"] else ""
            found.append(
                f"override   {name} {kind}{to} by {hand['actor']} at revision {hand['revision']}, "
                f"{local_time(hand['at'])}{why}; it goes to {route['target']}, "
                f"the file says {route['file_target'] or 'nothing of it'}"
            )
    return found or ["override   none"]


def _gates(overridden: list[dict[str, Any]]) -> list[str]:
    return [
        f"gate       {item['ref']} is approved IN SPITE OF its gate ({item['gate']}), "
        f"{by(item['by'])}"
        for item in overridden
    ]


def _adapters(unavailable: dict[str, str], not_servable: list[dict[str, Any]]) -> list[str]:
    lost = [
        f"adapter    {ref} CANNOT BE SERVED, its routes go to their fallback: {why}"
        for ref, why in unavailable.items()
    ]
    damaged = [
        f"adapter    {item['ref']} IS DAMAGED on disk: {item['reason']}; what is in memory is "
        f"served on{_named_by(item['workflows'])}"
        for item in not_servable
        if item["ref"] not in unavailable
    ]
    return [*lost, *damaged] or ["adapters   all can be served"]


def _named_by(workflows: list[str]) -> str:
    return f" to {', '.join(workflows)}" if workflows else ""


def _server(server: dict[str, Any]) -> str:
    faults = ", ".join(f"{count} {kind}" for kind, count in server["faults"].items())
    use = {"closed": "in use", "unwell": "NOT WELL", "open": "PAUSED", "half_open": "on trial"}
    return (
        f"server     {server['name']} {use[server['circuit']]}, {server['choices']} requests, "
        f"{server['adapters']} adapters, faults: {faults or 'none'}"
    )
