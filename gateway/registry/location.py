"""Where a registry is, as text: a folder, or the URL of object storage."""

from __future__ import annotations

import re


def is_url(text: str) -> bool:
    """Whether a registry's location is object storage rather than a folder."""
    return "://" in text


def shown(location: str) -> str:
    """The location without a password."""
    return re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:***@", location)
