"""The registry over HTTP: an adapter's files by digest, for servers without its folder.

Only the two files that the digest is made of; who fetches them makes it again and compares.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import BinaryIO, Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from gateway.control.plane import ControlPlane
from gateway.errors import NotFound
from gateway.registry.base import AdapterRegistry
from gateway.registry.content import CONFIG, WEIGHTS
from gateway.registry.values import AdapterArtifact

_BLOCK = 1 << 20
_FILES = {"config": CONFIG, "weights": WEIGHTS}


def artifact_routes(plane: ControlPlane, registry: AdapterRegistry) -> APIRouter:
    """For the admin API."""
    router = APIRouter()

    def opened(adapter: AdapterArtifact, name: str) -> BinaryIO:
        with registry.at_hand(adapter):
            return (adapter.path / name).open("rb")  # it can be read to its end, whatever comes

    @router.get("/admin/v1/artifacts/{digest}/{part}", response_class=StreamingResponse)
    async def artifact(digest: str, part: Literal["config", "weights"]) -> StreamingResponse:
        """One of the two files of the adapter with this digest, as it lies in the registry."""
        found = plane.artifacts.get(digest)
        file = None
        with contextlib.suppress(FileNotFoundError):
            if found is not None:
                file = await asyncio.to_thread(opened, found, _FILES[part])
        if file is None:
            raise NotFound(f"no adapter of digest {digest} is in the registry", param="digest")
        size = os.fstat(file.fileno()).st_size
        return StreamingResponse(
            iter(lambda: file.read(_BLOCK), b""),
            media_type="application/octet-stream",
            headers={"content-length": str(size)},
            background=BackgroundTask(file.close),
        )

    return router
