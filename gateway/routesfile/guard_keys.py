"""The keys of a route's `guard:` and of its checks. The parser obeys them, the reference is made
from them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.guard.values import CheckKind
from gateway.routesfile.keys import Key

GUARD = (
    Key("checks", (dict,), "what is watched: kinds of checks and their settings", required=True),
    Key(
        "alpha",
        (int, float),
        "the chance that the guard ever acts on a healthy version of the route, all checks "
        "together, however long it runs",
        default="0.01",
        minimum=1e-6,
        maximum=0.5,
    ),
    Key("on_trip", (str,), "disable, rollback (to the target before) or alert", default="disable"),
)
COMMON = (
    Key(
        "reference",
        (int, float),
        "the bad rate to expect, for collapse the commonest label's share. report: what the check "
        "says of the adapter's answers in its own eval, with their number as reference_items. "
        "shadow: what the route's shadow does on the same requests. "
        "control: of a canary, what the route's target answers at the same time",
        default="0",
        minimum=0,
        maximum=1,
        words=("report", "shadow", "control"),
    ),
    Key(
        "reference_items",
        (int,),
        "how many items that rate was read from; the guard then allows for its uncertainty",
        default="the reference is exact",
        minimum=1,
    ),
    Key(
        "tolerance",
        (int, float),
        "how much over the reference is still healthy",
        default="0.02",
        minimum=0.0001,
        maximum=1,
    ),
    Key(
        "weight",
        (int, float),
        "its part of alpha, relative to the other checks",
        default="1",
        minimum=0.001,
        maximum=1000,
    ),
    Key(
        "on_trip",
        (str,),
        "as the guard's",
        default="the guard's; alert for first_token, between_tokens and cancelled",
    ),
    Key(
        "window",
        (int,),
        "a plain rule in place of the test: looks at the last so many answers, once there are "
        "so many; needs threshold, takes no part of alpha, has no bound on false alarms",
        minimum=1,
        maximum=100_000,
    ),
    Key(
        "threshold",
        (int, float),
        "with window: the bad rate over which it trips",
        minimum=0,
        maximum=1,
    ),
)
_LABELS = Key("labels", (list,), "the labels, at most 200, each a text", required=True)
_LIMIT = Key("limit_s", (int, float), "seconds; more is bad", required=True, minimum=0.001)
OWN: Mapping[CheckKind, tuple[Key, ...]] = {
    CheckKind.SCHEMA: (
        Key("schema", (dict,), "a JSON schema", default="the route's response_schema, else any"),
    ),
    CheckKind.LABELS: (_LABELS,),
    CheckKind.COLLAPSE: (_LABELS,),
    CheckKind.REGEX: (
        Key(
            "pattern", (str,), "a regular expression (Python's) for the whole answer", required=True
        ),
    ),
    CheckKind.LENGTH: (
        Key("min_chars", (int,), "fewer characters are bad", default="0", minimum=0),
        Key("max_chars", (int,), "more are bad", default="no limit", minimum=0),
    ),
    CheckKind.SCRIPT: (
        Key(
            "scripts",
            (list,),
            "scripts to expect, as Unicode names letters: LATIN, CYRILLIC, CJK",
            required=True,
        ),
    ),
    CheckKind.FORMAT: (
        Key("labels", (list,), "labels that no free text consists of", default="none"),
    ),
    CheckKind.FIRST_TOKEN: (_LIMIT,),
    CheckKind.BETWEEN_TOKENS: (_LIMIT,),
    CheckKind.PROBES: (
        Key(
            "set",
            (str,),
            "the probe set's name: default is the shipped one, any other a file NAME.jsonl of the "
            "probes folder (`trainer probes` writes them)",
            default="default",
        ),
        Key(
            "every_s",
            (int, float),
            "seconds from one round of probes to the next",
            default="600",
            minimum=1,
            maximum=31_536_000,
        ),
        Key(
            "items",
            (int,),
            "items of a round, each asked of the target and of the base",
            default="20",
            minimum=1,
            maximum=10_000,
        ),
        Key(
            "tolerance",
            (int, float),
            "how much worse than the base's on the same items the target's rate of bad answers may "
            "be, the mean over suites",
            required=True,
            minimum=0.0001,
            maximum=1,
        ),
    ),
    CheckKind.FEEDBACK: (
        Key(
            "reference",
            (int, float),
            "the mean of 1 - score to expect: what feedback comes to while all is well",
            required=True,
            minimum=0,
            maximum=1,
        ),
    ),
}
# Keys of all checks that would mean nothing for one.
_NOT_OF: Mapping[CheckKind, frozenset[str]] = {
    CheckKind.PROBES: frozenset({"reference", "reference_items", "window", "threshold"}),
}
MEANINGS: Mapping[CheckKind, str] = {
    CheckKind.SCHEMA: "the answer is not JSON, or not of the schema",
    CheckKind.LABELS: "the answer is none of the labels",
    CheckKind.COLLAPSE: "one label is given too often: for each label, its share of the answers "
    "that are labels, against reference and tolerance",
    CheckKind.REGEX: "the answer does not match whole, outer white space aside",
    CheckKind.LENGTH: "the answer has too few or too many characters",
    CheckKind.EMPTY: "the answer is empty or white space",
    CheckKind.REPETITION: "the answer goes in a loop",
    CheckKind.REFUSAL: "the answer begins by declining, in English",
    CheckKind.SCRIPT: "the share of letters of other scripts",
    CheckKind.CUT: "the answer ended at its token limit",
    CheckKind.FORMAT: "free text is expected, and a label, two words or bare JSON came",
    CheckKind.ERRORS: "the engine failed or the adapter could not be loaded",
    CheckKind.FIRST_TOKEN: "the first token came later than limit_s",
    CheckKind.BETWEEN_TOKENS: "tokens came more than limit_s apart in the answer's mean",
    CheckKind.CANCELLED: "the client left before the end",
    CheckKind.PROBES: "the target does worse than the base on guardrail items, which both are "
    "asked on a schedule, beside the traffic; not for a workflow on base",
    CheckKind.FEEDBACK: "1 - the score that the product gave an answer (`POST /v1/feedback`)",
}


def keys_of(kind: CheckKind) -> tuple[Key, ...]:
    """Every key that a check of `kind` may have."""
    own = OWN.get(kind, ())
    named = {key.name for key in own} | _NOT_OF.get(kind, frozenset())
    return (*own, *(key for key in COMMON if key.name not in named))
