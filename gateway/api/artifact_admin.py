"""The registry over HTTP: an adapter's files by digest, for servers without its folder.

Only the two files that the digest is made of; who fetches them makes it again and compares.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import FileResponse

from gateway.control.plane import ControlPlane
from gateway.errors import NotFound
from gateway.registry.content import CONFIG, WEIGHTS

_FILES = {"config": CONFIG, "weights": WEIGHTS}


def artifact_routes(plane: ControlPlane) -> APIRouter:
    """For the admin API."""
    router = APIRouter()

    @router.get("/admin/v1/artifacts/{digest}/{part}", response_class=FileResponse)
    async def artifact(digest: str, part: Literal["config", "weights"]) -> FileResponse:
        """One of the two files of the adapter with this digest, as it lies in the registry."""
        found = plane.artifacts.get(digest)
        path = None if found is None else found.path / _FILES[part]
        if path is None or not path.is_file():
            raise NotFound(f"no adapter of digest {digest} is in the registry", param="digest")
        return FileResponse(path, media_type="application/octet-stream")

    return router
