"""Pictures of the console for docs/console.md: a fleet of three gateways over a tiny model, with
traffic, a rollback and a guard that trips, looked at with a real Chromium (about three minutes).

    python -m scripts.screenshots
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from gateway.guard.acting import ACTOR
from gateway.log.location import parse_location
from gateway.registry.store import Registry
from gateway.serve import Gateway
from gateway.settings import Settings
from scripts.docs.figures import ROOT
from tests import tiny
from tests.redis_server import RedisServer

IMAGES = ROOT / "docs" / "images"
COLOURS = 128  # of the pictures: flat areas and text need no more
WATCHED_S = 115  # until the charts are full
SEED = 7

ROUTES = """\
version: 1
workflows:
  chat:
    target: base
    description: Ordinary chat
  invoice-facts:
    target: invoice-facts@4
    description: Number, date and total of an invoice, as JSON
  reply-draft:
    target: reply-draft@{draft}
    description: A first answer to a customer, in the house style
    guard:
      checks:
        labels: {{labels: [spam, ham], reference: 0.9, reference_items: 4000}}
        empty: {{}}
        errors: {{}}
        repetition: {{reference: 0.2}}
  search-query:
    target: base
    description: A question as a query for the archive's search
  ticket-triage:
    target: ticket-triage@3
    description: One of ten teams for a ticket
    guard:
      on_trip: rollback
      checks:
        labels: {{labels: [network, web, mail], reference: 0.94, tolerance: 0.005}}
        empty: {{}}
        errors: {{}}
        first_token: {{limit_s: 2, reference: 0.05}}
"""
ADAPTERS = (
    *("invoice-facts@3", "invoice-facts@4"),
    *("reply-draft@1", "reply-draft@2"),
    "ticket-triage@3",
)


@dataclass(frozen=True)
class Load:
    """Requests a second of a workflow: `mean`, swaying by `sway` over `period_s`."""

    workflow: str
    mean: float
    sway: float
    period_s: float

    def at(self, seconds: float) -> float:
        return self.mean + self.sway * math.sin(2 * math.pi * seconds / self.period_s)


LOADS = (
    Load("ticket-triage", 1.2, 0.5, 70),
    Load("reply-draft", 2.6, 0.4, 40),
    Load("invoice-facts", 0.8, 0.5, 55),
    Load("chat", 0.5, 0.3, 30),
)


def prepare(folder: Path) -> None:
    """A tiny model and a registry with its adapters."""
    model = tiny.make_tiny_model(folder / "model")
    registry = Registry(folder / "registry")
    for seed, ref in enumerate(ADAPTERS):
        made = tiny.make_tiny_adapter(folder / f"adapter-{seed}", model, seed=seed)
        tiny.publish(registry, made, ref, model)
    write_routes(folder, draft=1, facts=3)


def write_routes(folder: Path, *, draft: int, facts: int) -> None:
    """The table with these versions."""
    text = ROUTES.format(draft=draft).replace("invoice-facts@4", f"invoice-facts@{facts}")
    (folder / "routes.yaml").write_text(text, encoding="utf-8")


def settings(folder: Path, number: int, redis: str) -> Settings:
    """Of the replica of that number."""
    return Settings(
        port=0,
        admin_port=0,
        replica=f"gateway-{number}",
        routes=folder / "routes.yaml",
        state=parse_location(redis),
        local_state=folder / "var",
        registry=str(folder / "registry"),
        model=str(folder / "model"),
        device="cpu",
        max_len=256,
        grace_s=0,
        log_level="error",
    )


async def ask(client: httpx.AsyncClient, workflow: str) -> None:
    """One request, whatever comes of it."""
    body: dict[str, Any] = {
        "model": workflow,
        "messages": [{"role": "user", "content": str(random.random())}],
        "max_tokens": 4,
    }
    await client.post("/v1/chat/completions", json=body)


async def traffic(url: str) -> None:
    """Requests without an end, at the paces of `LOADS`."""
    begun = asyncio.get_running_loop().time()
    async with (
        httpx.AsyncClient(base_url=url, timeout=60) as client,
        asyncio.TaskGroup() as running,
    ):
        while True:
            now = asyncio.get_running_loop().time() - begun
            for load in LOADS:
                if random.random() < load.at(now) / 10:
                    running.create_task(ask(client, load.workflow))
            await asyncio.sleep(0.1)


async def order(url: str, workflow: str, verb: str, **body: object) -> None:
    """An operator's order."""
    async with httpx.AsyncClient(base_url=f"{url}/admin/v1", timeout=30) as client:
        (await client.post(f"/workflows/{workflow}/{verb}", json=body)).raise_for_status()


async def opened(browser: Browser, url: str, **context: Any) -> Page:
    """The console, in a context of its own."""
    page = await (await browser.new_context(**context)).new_page()
    await page.goto(url)
    await page.get_by_text("Live", exact=True).wait_for()
    return page


async def keep(page: Page, name: str, **how: Any) -> None:
    """A picture, made small."""
    path = IMAGES / f"{name}.png"
    await page.screenshot(path=path, **how)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KB")


async def story(folder: Path, first: Gateway, browser: Browser) -> None:
    """What happens, and the pictures of it."""
    admin = f"http://127.0.0.1:{first.ports[1]}"
    wide = {"viewport": {"width": 1280, "height": 1000}}
    light = await opened(browser, admin, **wide)
    dark = await opened(browser, admin, color_scheme="dark", **wide)
    phone = await opened(
        browser, admin, viewport={"width": 360, "height": 760}, device_scale_factor=2
    )
    await asyncio.sleep(WATCHED_S / 4)
    write_routes(folder, draft=1, facts=4)
    await asyncio.sleep(8)
    write_routes(folder, draft=2, facts=4)
    await asyncio.sleep(WATCHED_S / 8)
    await order(
        admin,
        "invoice-facts",
        "rollback",
        reason="version 4 leaves the tax out; ticket 4711",
        actor="ada",
    )
    async with asyncio.timeout(240):
        async for event in first.plane.subscribe():
            if event.actor == ACTOR:
                break
    await asyncio.sleep(WATCHED_S / 5)
    for page in (light, dark, phone):
        await page.locator("#toasts").evaluate("node => node.replaceChildren()")
    await keep(light, "console-light", full_page=True)
    await light.get_by_role("button", name="ticket-triage", exact=True).click()
    await light.locator(".past li").first.wait_for()
    await keep(light, "console-guard")
    await dark.get_by_role("button", name="Roll back ticket-triage").wait_for()
    await keep(dark, "console-dark", full_page=True)
    await keep(phone, "console-phone")
    await light.get_by_role("button", name="Disable ticket-triage").click()
    await light.get_by_label("Reason").fill("sends every mail problem to the network team")
    await light.get_by_label("Your name").fill("ada")
    await keep(light, "console-disable")
    await light.get_by_role("dialog").get_by_role("button", name="Disable ticket-triage").click()
    await light.locator(".acks").wait_for()
    await keep(light, "console-obeyed")


async def main() -> None:
    """Start everything, take the pictures, and end it."""
    random.seed(SEED)
    IMAGES.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("there is no Chromium here (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        redis = RedisServer(folder / "redis").start()
        gateways = [Gateway(settings(folder, number, redis.url)) for number in (1, 2, 3)]
        for gateway in gateways:
            await gateway.start()
        busy = asyncio.create_task(traffic(f"http://127.0.0.1:{gateways[0].ports[0]}"))
        async with async_playwright() as playwright:
            sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = await playwright.chromium.launch(executable_path=chromium, args=sandbox)
            await story(folder, gateways[0], browser)
            await browser.close()
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        for gateway in gateways:
            await gateway.stop()
        redis.kill()


if __name__ == "__main__":
    asyncio.run(main())
