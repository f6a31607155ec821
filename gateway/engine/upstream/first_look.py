"""What the servers say of themselves before the first request: the base's name and its context.

Blocks, in a thread of its own. A server that is away is no reason not to start; one that runs
something else is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.engine.text import HuggingFaceText
from gateway.engine.upstream.faults import ServerFault
from gateway.engine.upstream.naming import digest_of
from gateway.engine.upstream.server import Listed, Server
from gateway.errors import BadInput

log = logging.getLogger(__name__)

_PROBE = "Route 66, naïve café 日本語 🙂\n\tand  two spaces"


@dataclass(frozen=True, slots=True)
class Found:
    """What there is. `model` is empty where no server answered and none was named."""

    model: str
    max_len: int | None  # the smallest that a server has


def base_of(listed: Sequence[Listed], wanted: str, server: str) -> Listed:
    """The base model among what `server` lists. Raises BadInput where it is not to be told."""
    bases = [one for one in listed if one.parent is None and digest_of(one.name) is None]
    if wanted:
        bases = [one for one in bases if one.name == wanted]
    if len(bases) == 1:
        return bases[0]
    names = ", ".join(one.name for one in listed) or "nothing"
    raise BadInput(
        f"{server} lists {names}; set server_model to the base's name there",
        param="server_model",
    )


async def look(servers: Sequence[Server], wanted: str, text: HuggingFaceText) -> Found:
    """Ask all. Raises BadInput where two serve different bases, or one cuts text otherwise than
    the tokenizer here: token ids would then mean something else to it."""
    names: dict[str, str] = {}
    lengths: list[int] = []

    async def one(server: Server) -> None:
        try:
            listed = await server.listed()
            if server.dialect.models is None:
                names[server.url] = wanted or "base"
                return
            base = base_of(listed, wanted, server.url)
            said = await server.tokens_of(base.name, _PROBE)
        except ServerFault as fault:
            log.error("%s: %s; it is asked again", server.url, fault.message)
            return
        if said is not None and said != text.encode(_PROBE):
            raise BadInput(
                f"{server.url} runs a model with another tokenizer than the one here; set model to "
                "the folder of the base that it serves",
                param="model",
            )
        names[server.url] = base.name
        if base.max_len is not None:
            lengths.append(base.max_len)

    await asyncio.gather(*(one(server) for server in servers))
    if len(set(names.values())) > 1:
        raise BadInput(
            f"the servers serve different base models: {names}; give them one name "
            "(vLLM: --served-model-name) or set server_model",
            param="server_model",
        )
    return Found(next(iter(names.values()), wanted), min(lengths, default=None))
