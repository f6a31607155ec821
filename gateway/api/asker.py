"""Who asks, as far as a canary has to know: what sends one person to one model. Never an API key:
many people share one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.routing.assignment import USER


@dataclass(frozen=True, slots=True)
class Asker:
    """One request's names of the person behind it. A request that tells none is a person of its
    own: its id stays the same over every attempt to answer it."""

    request_id: str
    user: str | None
    headers: Mapping[str, str]  # names in any case

    def key(self, name: str) -> str:
        """The person, by what a route's canary goes by: `user` or a header's name."""
        said = self.user if name == USER else self.headers.get(name)
        return said or self.request_id
