"""The tiny model and its adapters, as the gateway's own tests have them."""

from tests.gateway.conftest import tiny_files

__all__ = ["tiny_files"]
