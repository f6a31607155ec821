"""The keys of a route's `canary:`. The parser obeys them, the reference is made from them. No
I/O."""

from __future__ import annotations

from gateway.routesfile.keys import Key
from gateway.routing.assignment import USER, CanaryPlan

LEAST_SHARE = 0.01  # percent: one of the buckets
MOST_STEPS = 20
HOLD_S = (1.0, 30 * 86_400.0)
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

_DEFAULT = CanaryPlan(())
CANARY = (
    Key(
        "adapter",
        (str,),
        "what is tried: an approved adapter as name@version, not the target nor the fallback",
        required=True,
    ),
    Key(
        "share",
        (int, float, str),
        f"the percentage of requests that it answers at first: 5 or 5%, from {LEAST_SHARE} to 100; "
        "it goes on with the steps that are larger",
        default="the first step",
    ),
    Key(
        "steps",
        (list,),
        f"the shares in percent that it is given in turn; they grow, and are {MOST_STEPS} at most",
        default="the share alone",
    ),
    Key(
        "hold",
        (str,),
        "how long a step lasts at least, before it is moved on by itself if the guard is content: "
        "30s, 15m, 6h, 2d; from 1s to 30d; needs steps and a guard that may act",
        default="a step is moved by hand alone",
    ),
    Key(
        "key",
        (str,),
        "what tells one person from another, so that each sees one model: user (the request's "
        "field), or the name of a request header; requests without it are assigned one by one",
        default=USER,
    ),
    Key(
        "min_answers",
        (int,),
        "how many answers of a step each check that may act must have seen before it is moved on",
        default=str(_DEFAULT.min_answers),
        minimum=1,
        maximum=1_000_000,
    ),
)
