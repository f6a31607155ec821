"""What servers know an adapter by: its digest. A re-trained adapter has another one, so that none
is ever answered from a stale copy, and taking one out never hits a newer one of the same name."""

from __future__ import annotations

import re

_NAME = re.compile(r"^adapter-(?P<digest>[0-9a-f]{64})\Z")


def name_of(digest: str) -> str:
    """The name of the adapter with `digest` (sha256 hex)."""
    return f"adapter-{digest}"


def digest_of(name: str) -> str | None:
    """The digest in a name; None for what is not of this gateway's making."""
    match = _NAME.match(name)
    return None if match is None else match["digest"]
