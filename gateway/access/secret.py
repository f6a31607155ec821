"""The text of a key: made once, shown once, and kept nowhere; the log has its SHA-256.

Plain SHA-256 is enough here, and a slow or peppered hash would buy nothing. Those guard secrets
that people choose and that can be guessed; this one is 256 bits from the system's random source,
so a stolen log gives nobody a text to try. In return a check costs a microsecond, needs no other
secret on each replica, and can be looked up by the digest itself: what the lookup's timing tells
is about digests, which nobody can choose the text for.
"""

from __future__ import annotations

import hashlib
import secrets

from gateway.access.values import Grant, Key, check_key

PREFIX = "gwk"  # so that scanners for leaked secrets can know one


def new_key(name: str, grant: Grant) -> tuple[Key, str]:
    """A new key and its text, `gwk_<id>_<secret>`. Raises BadInput as `check_key`."""
    identity = secrets.token_hex(6)
    text = f"{PREFIX}_{identity}_{secrets.token_hex(32)}"
    return check_key(Key(identity, name, digest_of(text), grant)), text


def digest_of(text: str) -> str:
    """What the log keeps of a key's text: SHA-256, hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
