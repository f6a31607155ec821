"""`gateway guard`: what is watched, the evidence so far, and why a route was taken back."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.client import AdminClient
from gateway.cli.options import ADMIN_URL, AdminUrl, AsJson
from gateway.cli.outcomes import coded, local_time, print_json
from gateway.errors import NotFound

_PAIRED = ("shadow", "control", "base")  # references that pairs of answers are held against
app = typer.Typer(help="What the guards watch, and why they acted.", no_args_is_help=True)


@app.command()
@coded
def status(admin_url: AdminUrl = ADMIN_URL, as_json: AsJson = False) -> None:
    """Every watched route: its check that is nearest to a trip."""
    data = AdminClient(admin_url).call("GET", "/guard")
    if as_json:
        print_json(data)
        return
    columns = ("workflow", "arm", "target", "answers", "nearest to a trip", "on the way", "trips")
    table = Table(*columns)
    for guard in data["guards"]:
        signals = [*guard["signals"], *guard["pooled"]]
        if not signals:
            continue  # all that its guard does is to compare a canary with it
        nearest = max(signals, key=lambda signal: float(signal["progress"]))
        seen = max(signal["seen"] for signal in signals)
        table.add_row(
            guard["workflow"],
            guard["arm"],
            guard["target"],
            str(seen),
            nearest["name"],
            f"{nearest['progress']:.0%}",
            str(len(guard["trips"])),
        )
    Console().print(table)
    if data["shadows"]:
        Console().print(_shadows(data["shadows"]))
    for name in data["unseen"]:
        print(f"{name}: has a guard that has seen no answer yet")
    print(f"guards acted {data['acts_in_last_hour']} times in the last hour", end="")
    print(f"; at {data['trips_per_hour']} they hold their trips")
    if data["pool_error"]:
        print(f"each gateway decides alone now: {data['pool_error']}")


@app.command()
@coded
def explain(
    workflow: Annotated[str, typer.Argument(metavar="WORKFLOW", help="The workflow.")],
    admin_url: AdminUrl = ADMIN_URL,
    as_json: AsJson = False,
) -> None:
    """One route: why it was taken back, and each check's evidence."""
    client = AdminClient(admin_url)
    data = client.call("GET", "/guard")
    arms = [guard for guard in data["guards"] if guard["workflow"] == workflow]
    beside = {
        kind: [one for one in data[kind] if one["workflow"] == workflow]
        for kind in ("shadows", "probes")
    }
    watched = arms or any(beside.values()) or workflow in data["unseen"]
    if as_json and watched:
        print_json({"arms": arms, **beside})
        return
    for line in _hands(client.call("GET", "/routes")["workflows"].get(workflow)):
        print(line)
    for kind, lines_of in (("shadows", _shadow_lines), ("probes", _probe_lines)):
        for one in beside[kind]:
            print("\n".join(lines_of(one)))
    if workflow in data["unseen"]:
        print(f"{workflow}: its guard has seen no answer of this version yet")
    if not watched:
        raise NotFound(f"workflow {workflow!r} has no guard; routes.yaml gives it one")
    for arm in arms:
        _explain(arm)


def _explain(found: dict[str, Any]) -> None:
    """One arm: its trips, and each check's evidence."""
    arm = " (canary)" if found["arm"] == "canary" else ""
    print(f"{found['workflow']} on {found['target']}{arm}, alpha {found['alpha']:g}")
    for trip in found["trips"]:
        print(f"  {local_time(trip['at'])}  {trip['action']}: {trip['why']}")
    for signal in [*found["pooled"], *found["signals"]]:
        low, high = signal["interval"]
        mark = "TRIPPED " if signal["tripped"] else ""
        print(f"  {mark}{signal['line_of_text']}")
        what = "true difference" if signal["compared"] in _PAIRED else "true rate"
        print(
            f"      {signal['progress']:.0%} of the way to {signal['action']}; "
            f"{what} {low:.1%} to {high:.1%}"
        )


def _shadows(shadows: list[dict[str, Any]]) -> Table:
    """Every route with a shadow, one row each."""
    table = Table("workflow", "target", "shadow", "share", "pairs", "agree", "lost")
    for shadow in shadows:
        agreement = shadow["agreement"]
        lost = sum(n for outcome, n in shadow["outcomes"].items() if outcome != "compared")
        table.add_row(
            shadow["workflow"],
            shadow["target"],
            shadow["shadow"],
            f"{shadow['share']:g}%",
            str(shadow["pairs"]),
            "-" if agreement is None else f"{agreement:.0%}",
            str(lost),
        )
    return table


def _shadow_lines(shadow: dict[str, Any]) -> list[str]:
    """One route beside its shadow."""
    lines = [
        f"{shadow['workflow']} on {shadow['target']}, {shadow['share']:g}% of the requests also "
        f"asked of {shadow['shadow']}: {shadow['pairs']} pairs"
    ]
    lost = {what: n for what, n in shadow["outcomes"].items() if what != "compared"}
    if lost:
        lines.append("  not compared: " + ", ".join(f"{n} {what}" for what, n in lost.items()))
    if shadow["agreement"] is not None:
        lines.append(f"  agreement ({shadow['form']}): {shadow['agreement']:.1%}")
    lines += [
        f"  {check['check']}: bad {check['rate']:.1%}, the shadow's {check['shadow_rate']:.1%}, "
        f"over {check['pairs']} pairs"
        for check in shadow["checks"]
    ]
    for whose, other in (("target", "shadow"), ("shadow", "target")):
        if (nats := shadow[f"{whose}_surprise"]) is not None:
            lines.append(f"  the {whose}'s answers under the {other}: {nats:.2f} nats a token")
    return lines


def _probe_lines(probed: dict[str, Any]) -> list[str]:
    """What a route's probes have shown: each suite, the base beside the target."""
    last = f", the last was {probed['last']}" if probed["last"] else ""
    arm = " (canary)" if probed["arm"] == "canary" else ""
    lines = [
        f"{probed['workflow']} on {probed['target']}{arm}, probes of set {probed['set']}, "
        f"{probed['items']} items every {probed['every_s']:g} s: {probed['rounds']} rounds{last}"
    ]
    if probed["fault"]:
        lines.append(f"  {probed['fault']}")
    lines += [
        f"  {suite['suite']}: bad {suite['target']:.1%}, the base's {suite['base']:.1%}, "
        f"over {suite['pairs']} items"
        for suite in probed["suites"]
    ]
    return lines


def _hands(route: dict[str, Any] | None) -> list[str]:
    """What the guard did to a route and still holds, from the log."""
    hands = dict((route or {}).get("override") or {})
    canary = (route or {}).get("canary")
    if canary is not None and canary["phase"] == "aborted":
        hands[f"{canary['adapter']} aborted"] = canary["since"]
    return [
        f"{kind} by guard at revision {hand['revision']}, {local_time(hand['at'])}: "
        f"{hand['reason']}"
        for kind, hand in hands.items()
        if hand["actor"] == "guard"
    ]
