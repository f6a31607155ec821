"""The control plane's figures beside their aims: benchmarks/results/control.json."""

from __future__ import annotations

from scripts.docs.figures import NOT_READ, number, result, source
from scripts.docs.markdown import table


def control() -> str:
    """A disable across replicas, changes under load, and a table of 10,000 workflows."""
    read = result("control")
    if read is None:
        return NOT_READ
    figures = read["figures"]
    rows: list[tuple[str, str, str]] = []
    if "disable_ms" in figures:
        disable = figures["disable_ms"]
        admitted, swapped = disable["last_admitted"], disable["swapped_everywhere"]
        answers, changes = figures["answers"], figures["changes"]
        rows += [
            (
                f"acknowledged disable to the last admission, {disable['trials']} trials, ms",
                f"p50 {admitted['p50']}, p99 {admitted['p99']}, worst {admitted['worst']}",
                "p50 5, p99 50",
            ),
            (
                "the same to the last replica's swap, ms",
                f"p50 {swapped['p50']}, p99 {swapped['p99']}, worst {swapped['worst']}",
                "",
            ),
            (
                f"requests during all trials and {changes['changes']} changes: failed, wrong",
                f"{answers['failed']}, {answers['wrong']} of {answers['requests']}",
                "0, 0",
            ),
        ]
    resolve = figures["resolve_ns_median"]
    memory = figures["bytes_per_route"]
    edit = figures["edit_of_10000_ms"]
    rows += [
        (
            f"one-route edit of 10,000 workflows, parse and validation included, {edit['edits']} "
            "edits, ms",
            f"first after a restart {number(edit['first'], 0)}, p50 {number(edit['p50'], 0)}, "
            f"worst {number(edit['worst'], 0)}",
            "100",
        ),
        (
            "a restart with 10,000 workflows until it serves, and until an edit costs as above, s",
            f"{number(figures['restart_of_10000_ms'] / 1e3, 1)}, "
            f"{number(figures['known_again_of_10000_ms'] / 1e3, 1)} more",
            "",
        ),
        ("a disable in 10,000 workflows, ms", number(figures["disable_of_10000_ms"], 0), ""),
        (
            f"resolve, median, ns, at {', '.join(resolve)} routes",
            ", ".join(number(value, 0) for value in resolve.values()),
            "2000, flat",
        ),
        ("memory a route at 10,000, bytes", str(memory["10000"]), ""),
    ]
    return table(("figure", "read", "aim"), rows) + "\n" + source("control", read)
