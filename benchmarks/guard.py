"""The guard's figures: false trips, answers until a trip, beside a fixed-window rule; traffic of
real answers; replicas that pool; the cost on the request path; and damaged adapters end to end.

    python -m benchmarks.guard [--parts rates,answers,pool,path,live] [--runs 1000]

The parts that are read replace theirs in results/guard.json; the others stay as they are there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import guard_answers, guard_live, guard_path, guard_pool, results
from benchmarks.guard_runs import (
    WindowedRule,
    answers_until_trip,
    healthy_trips,
    share,
    spread,
    window_trips,
)

SEED = 5
ALPHA = 0.01
REFERENCE = 0.01  # the healthy bad rate
TOLERANCES = (0.02, 0.005)  # the default; and one under which 2% is a regression
RATES = (0.02, 0.05, 0.2, 0.6)
ANSWERS = 100_000  # of one healthy run
BEFORE = 10_000  # healthy answers before the rate changes
MOST = 40_000  # answers that a regression is given to be found in

# A minute's interval at 100 requests a minute. Argo Rollouts' failureLimit 3 fails the analysis at
# the 4th failed measurement; Flagger's threshold 5 rolls back at the 5th failed check. Failed
# measurements are counted over the whole analysis in both.
WINDOWS = (
    WindowedRule("over 5% in 1 of the minutes", 100, 0.05, 1),
    WindowedRule("over 3% in 4 of the minutes (failureLimit: 3)", 100, 0.03, 4),
    WindowedRule("over 5% in 4 of the minutes (failureLimit: 3)", 100, 0.05, 4),
    WindowedRule("over 1% in 5 of the minutes (threshold: 5)", 100, 0.01, 5),
)

# Written down before the first run.
PREDICTED = {
    "false_trips": {"at the reference": 0.0, "at the bound": "0.002 to 0.006, never over 0.01"},
    "until_trip_p50": {
        "tolerance 0.02": {"0.02": None, "0.05": 900, "0.2": 45, "0.6": 10},
        "tolerance 0.005": {"0.02": 17000, "0.05": 350, "0.2": 40, "0.6": 9},
    },
    "windows": "over 5% once: half of the healthy runs trip; over 1%: all do within an hour",
    "answers": "no false trip in 200 runs; the other adapter's at 60%: 12 answers; at 5%: over 500",
    "pool": "four replicas need within 10% of the answers that one needs; false trips under 0.01",
    "path_us": {"request p50": 10, "request p99": 60},
    "live_bad_answers": {
        "label-collapse": 20,
        "broken-json": 9,
        "refuses": 9,
        "leaks-format": 9,
    },
    "live_failed": 0,
}


def main() -> None:
    parts: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "rates": lambda asked: rates(asked.runs),
        "answers": lambda asked: guard_answers.read(SEED, asked.runs // 5, 20_000),
        "pool": lambda asked: guard_pool.read(SEED, asked.runs),
        "path": lambda asked: guard_path.read(),
        "live": lambda asked: guard_live.read(asked.threads),
    }
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", default=",".join(parts))
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    path = results.FOLDER / "guard.json"
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.is_file() else {}
    figures["predicted"] = PREDICTED
    for name in asked.parts.split(","):
        began = time.monotonic()
        figures[name] = parts[name](asked)
        figures[name]["took_s"] = round(time.monotonic() - began, 1)
        print(name, json.dumps(figures[name], indent=1), flush=True)
        print(results.write("guard", figures), flush=True)


def rates(runs: int) -> dict[str, Any]:
    """Simulated rates: the guard's test and the fixed windows."""
    found: dict[str, Any] = {
        "alpha": ALPHA,
        "reference": REFERENCE,
        "answers": ANSWERS,
        "before": BEFORE,
        "most": MOST,
        "guard": {},
        "windows": {},
    }
    for number, tolerance in enumerate(TOLERANCES):
        bound = REFERENCE + tolerance
        rng = np.random.default_rng([SEED, number])
        read = {
            name: share(healthy_trips(rng, runs, ANSWERS, rate, bound, ALPHA))
            for name, rate in (("at the reference", REFERENCE), ("at the bound", bound))
        }
        above = [rate for rate in RATES if rate > bound]
        until = {
            when: answers_until_trip(
                rng,
                runs,
                before=(before, REFERENCE),
                rates=above,
                bound=bound,
                alpha=ALPHA,
                most=MOST,
            )
            for when, before in (("from the first answer", 0), ("after 10,000 healthy", BEFORE))
        }
        found["guard"][str(tolerance)] = {
            "false_trips": read,
            "until_trip": {
                when: {str(rate): spread(each) for rate, each in by_rate.items()}
                for when, by_rate in until.items()
            },
        }
    for number, rule in enumerate(WINDOWS):
        rng = np.random.default_rng([SEED, 100 + number])
        found["windows"][rule.name] = {
            "window": rule.window,
            "false_trips": {
                name: share(window_trips(rng, runs, ANSWERS, rate, rule))
                for name, rate in (
                    ("at the reference", REFERENCE),
                    ("at the bound", REFERENCE + TOLERANCES[0]),
                )
            },
            "until_trip": {
                str(rate): spread(window_trips(rng, runs, MOST, rate, rule)) for rate in RATES
            },
        }
    return found


if __name__ == "__main__":
    main()
