"""What may look on while requests are tried on servers: tracing, where it is on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class Tries(Protocol):
    """An onlooker of the tries. Raises nothing and holds up nothing."""

    def trying(self, server: str, path: str, tried: int) -> AbstractContextManager[None]:
        """Entered while a request is tried at `path` of `server`; `tried` tries went before. A
        ServerFault that leaves it is the try's end."""
        ...

    def headers(self) -> Mapping[str, str]:
        """What goes with the running try to its server."""
        ...
