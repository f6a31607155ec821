"""What a command says and how it ends: errors to messages and exit codes, changes to lines.

Exit codes: 0 done, 1 refused, 2 bad usage or file, 3 gateway unreachable, outcome unknown or a
replica silent,
4 revision conflict.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec

import typer

from gateway.cli.client import OutcomeUnknown, Refused, Unreachable
from gateway.errors import BadInput, GatewayError, RevisionConflict, TableRejected

P = ParamSpec("P")

REFUSED, BAD_INPUT, UNKNOWN, CONFLICT = 1, 2, 3, 4
_REFUSALS = {"revision_conflict": CONFLICT, "table_rejected": BAD_INPUT}


def coded(function: Callable[P, None]) -> Callable[P, None]:
    """Errors of a command to messages and exit codes, in one place."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Refused as error:
            fail(str(error), _REFUSALS.get(error.code, REFUSED))
        except Unreachable as error:
            fail(f"{error}; start it with `gateway serve`, or name it with --admin-url", UNKNOWN)
        except OutcomeUnknown as error:
            fail(str(error), UNKNOWN)
        except RevisionConflict as error:
            fail(error.message, CONFLICT)
        except (TableRejected, BadInput) as error:
            fail(error.message, BAD_INPUT)
        except GatewayError as error:
            fail(error.message, REFUSED)

    return wrapped


def fail(message: str, code: int) -> NoReturn:
    """End the command with `message` on stderr."""
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(code)


def print_json(data: Any) -> None:
    """For scripts: the API's own answer."""
    print(json.dumps(data, indent=2, ensure_ascii=False))


def print_change(done: dict[str, Any], *, nothing: str = "nothing changed") -> None:
    """Which routes became what, at which revision."""
    for change in done["changes"]:
        before, after = change["before"], change["after"]
        old, new = _goes_to(before), _goes_to(after)
        print(f"{change['workflow']}: {old} -> {new} at revision {done['revision']}")
    if not done["changes"]:
        print(f"{nothing}; revision {done['revision']}")


def _goes_to(decision: dict[str, Any] | None) -> str:
    if decision is None:
        return "(none)"
    said = f"{decision['target']} ({decision['reason']})"
    if (split := decision.get("split")) is not None:
        said += f" with {split['target']} at {split['share']:g}% (canary)"
    return said


def print_replicas(done: dict[str, Any]) -> None:
    """Which replicas obey, a line each."""
    for one in done.get("replicas", ()):
        said = one["note"] or f"serves revision {one['revision']}"
        if one["answer"] in ("silent", "lost"):
            said += f" (revision {one['revision']}, last heard of {one['seen_s']:.1f} s ago)"
        print(f"  {one['replica']:<24} {one['answer']:<8} {said}")
    if done.get("owed"):
        print("the log is away: this replica ALONE obeys; the log gets the order when it is back")
        if not done["kept"]:
            print("the order could NOT be kept on this disk: a restart before then forgets it")


def silent_replicas(done: dict[str, Any]) -> list[str]:
    """The live replicas that have not said that they obey. An order that one replica was asked
    to obey alone waits for nobody."""
    if done.get("owed"):
        return []
    return [one["replica"] for one in done.get("replicas", ()) if one["answer"] == "silent"]


def by(mark: dict[str, Any]) -> str:
    """Who did a thing, when and why."""
    why = f": {mark['reason']}" if mark["reason"] else ""
    return f"by {mark['actor']} at revision {mark['revision']}, {local_time(mark['at'])}{why}"


def local_time(at: float) -> str:
    """Seconds since the epoch as the operator's clock shows them."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
