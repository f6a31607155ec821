"""One gateway process for the control benchmark: writes down what it admits and when it swaps.

Times are of the machine's monotonic clock, so that those of several processes compare.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from gateway import logs
from gateway.api.answering import Services
from gateway.process import settle
from gateway.routing.events import Event
from gateway.routing.table import Decision, RoutingTable
from gateway.serve import Gateway
from gateway.settings import Settings


async def main(settings: Settings, out: Path) -> None:
    """Serve until SIGTERM; then write the admissions and swaps to `out`."""
    logs.configure("error")
    admitted: list[tuple[float, str, bool]] = []  # time, workflow, on an adapter
    swapped: list[tuple[float, int]] = []  # time, revision
    decide = Services.decide

    def noted(services: Services, workflow: str, *rest: Any, **more: Any) -> Decision:
        decision = decide(services, workflow, *rest, **more)
        admitted.append((time.monotonic(), workflow, not decision.target.is_base))
        return decision

    def on_swap(_: RoutingTable, new: RoutingTable, event: Event) -> None:
        swapped.append((time.monotonic(), event.revision))

    Services.decide = noted  # type: ignore[method-assign,assignment]
    gateway = await asyncio.to_thread(Gateway, settings)
    await gateway.start()
    settle()
    gateway.plane.on_swap(on_swap)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps(gateway.ports), flush=True)
    await stop.wait()
    noted_here = json.dumps({"admitted": admitted, "swapped": swapped})
    await asyncio.to_thread(out.write_text, noted_here)
    await gateway.stop()


if __name__ == "__main__":
    asyncio.run(main(Settings.model_validate_json(sys.argv[1]), Path(sys.argv[2])))
