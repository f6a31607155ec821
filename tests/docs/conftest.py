"""The tiny model, for pages whose commands need a gateway and no answers."""

from tests.gateway.conftest import tiny_files

__all__ = ["tiny_files"]
