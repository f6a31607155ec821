"""The `shadow:` of a workflow to its value, and the keys that it has. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from gateway.errors import BadInput
from gateway.routesfile.fields import FieldReader
from gateway.routesfile.keys import Key
from gateway.routing.table import BASE, AdapterRef

_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)\s*%")
DEFAULT_STORE_BYTES = 10_000_000
SHADOW = (
    Key(
        "target",
        (str,),
        "what is asked as well: base, or an adapter as name@version, which need not be approved "
        "as no client sees its answers",
        required=True,
    ),
    Key(
        "share",
        (str,),
        "which part of the requests that the route's target answered, in percent: 10%",
        required=True,
    ),
    Key(
        "store_text",
        (bool,),
        "keep prompt and both answers of each pair as a JSON line in the state folder",
        default="false",
    ),
    Key(
        "store_bytes",
        (int,),
        "with store_text: the most bytes of it that are kept, the newest",
        default=str(DEFAULT_STORE_BYTES),
        minimum=10_000,
        maximum=10_000_000_000,
    ),
)


@dataclass(frozen=True, slots=True)
class ShadowEntry:
    """A shadow as written; `target` None is the base model, `share` is in percent."""

    target: AdapterRef | None
    share: float
    store_text: bool = False
    store_bytes: int = DEFAULT_STORE_BYTES


def read_shadow(reader: FieldReader, node: yaml.Node, path: str) -> ShadowEntry | None:
    """The shadow, or None where it has faults (all are noted)."""
    fields, values = reader.fields(node, path, SHADOW)
    target: AdapterRef | None = None
    whole = True
    if (stated := values.get("target", BASE)) != BASE:
        try:
            target = AdapterRef.parse(stated)
        except BadInput as error:
            reader.fault(fields["target"][1], f"{path}.target", error.message)
            whole = False
    share = percent(values.get("share", ""))
    if "share" in values and share is None:
        message = f"is {values['share']!r}; it must be over 0% and at most 100%, written as 10%"
        reader.fault(fields["share"][1], f"{path}.share", message)
    if not whole or share is None or any(k.required and k.name not in values for k in SHADOW):
        return None
    if any(name not in values for name in fields):
        return None
    return ShadowEntry(
        target,
        share,
        values.get("store_text", False),
        values.get("store_bytes", DEFAULT_STORE_BYTES),
    )


def percent(text: str) -> float | None:
    """The number that `10%` states; None for what is no percentage over 0 and up to 100."""
    match = _PERCENT.fullmatch(text.strip())
    share = float(match[1]) if match else 0.0
    return share if 0 < share <= 100 else None
