"""Adapters in a folder, each under its digest: fetched whole, checked, and put there by one rename.

Nothing is ever removed: a server may read an adapter again long after it was told of it.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import httpx

from gateway.errors import AdapterRejected, BadInput, GatewayError
from gateway.registry.content import CONFIG, WEIGHTS, adapter_digest

_PARTS = {"config": CONFIG, "weights": WEIGHTS}


class FetchFailed(GatewayError):
    """The gateway could not be asked, or did not give the files; a later try may succeed."""

    code = "fetch_failed"


class FetchedAdapters:
    """Of one folder. For one event loop."""

    def __init__(self, folder: Path, client: httpx.AsyncClient) -> None:
        """`client` speaks to the gateway's admin API, with its address and key."""
        self._folder = folder
        self._client = client
        self._fetching: dict[str, asyncio.Lock] = {}

    async def fetch(self, digest: str) -> Path:
        """The folder of the adapter with `digest`. Raises BadInput, FetchFailed where it cannot be
        had now, AdapterRejected where what came has another digest."""
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise BadInput(f"{digest!r} is no sha256 digest in hex", param="digest")
        target = self._folder.resolve() / digest
        lock = self._fetching.setdefault(digest, asyncio.Lock())
        async with lock:
            if not target.is_dir():
                await self._fetch(digest, target)
        return target

    async def _fetch(self, digest: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=".fetching-", dir=target.parent))
        try:
            for part, name in _PARTS.items():
                await self._download(f"/admin/v1/artifacts/{digest}/{part}", staged / name)
            found = await asyncio.to_thread(adapter_digest, staged, digest[:12])
            if found != digest:
                raise AdapterRejected(
                    f"what was fetched for {digest[:12]} has digest {found[:12]}; it is not used",
                    adapter=digest,
                )
            await asyncio.to_thread(_put, staged, target)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    async def _download(self, url: str, path: Path) -> None:
        try:
            async with self._client.stream("GET", url) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    raise FetchFailed(
                        f"the gateway answered {answer.status_code}: {answer.text[:300]}"
                    )
                with path.open("wb") as out:
                    async for block in answer.aiter_bytes(1 << 20):
                        out.write(block)
        except httpx.HTTPError as error:
            raise FetchFailed(
                f"the gateway cannot be asked: {error or type(error).__name__}"
            ) from error


def _put(staged: Path, target: Path) -> None:
    staged.chmod(0o755)  # the server may run as somebody else
    staged.rename(target)
