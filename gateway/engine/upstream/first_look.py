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
    """What a server runs."""

    model: str  # its name there
    max_len: int | None  # tokens of its context


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


async def examine(server: Server, wanted: str, text: HuggingFaceText, fingerprint: str) -> Found:
    """What one server runs. Raises BadInput where that is not `wanted` (if it is named), where it
    tells another fingerprint of the base, or where it cuts text otherwise than the tokenizer here:
    token ids would mean something else to it. Raises ServerFault where it does not answer."""
    if server.dialect.models is None:
        return Found(wanted or "base", None)
    base = base_of(await server.listed(), wanted, server.url)
    if base.fingerprint not in (None, fingerprint):
        raise BadInput(
            f"{server.url} runs base {str(base.fingerprint)[:12]}, this gateway's is "
            f"{fingerprint[:12]}; give both the same model",
            param="model",
        )
    said = await server.tokens_of(base.name, _PROBE)
    if said is not None and said != text.encode(_PROBE):
        raise BadInput(
            f"{server.url} runs a model with another tokenizer than the one here; set model to "
            "the folder of the base that it serves",
            param="model",
        )
    return Found(base.name, base.max_len)


async def look(
    servers: Sequence[Server], wanted: str, text: HuggingFaceText, fingerprint: str
) -> dict[str, Found]:
    """Ask all; those that answered, by address. Raises BadInput as `examine`, and where two serve
    different bases."""
    found: dict[str, Found] = {}

    async def one(server: Server) -> None:
        try:
            found[server.url] = await examine(server, wanted, text, fingerprint)
        except ServerFault as fault:
            log.error("%s: %s; it is asked again", server.url, fault.message)

    await asyncio.gather(*(one(server) for server in servers))
    names = {url: one.model for url, one in found.items()}
    if len(set(names.values())) > 1:
        raise BadInput(
            f"the servers serve different base models: {names}; give them one name "
            "(vLLM: --served-model-name) or set server_model",
            param="server_model",
        )
    return found
