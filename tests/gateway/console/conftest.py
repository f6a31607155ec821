"""The console in a real Chromium, with a whole gateway over a tiny model behind it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, Route, async_playwright, expect

from tests.gateway.conftest import World, start

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_MS = 20_000
# What a page must never say to its own console.
FAULTS = ("Content Security Policy", "TrustedHTML", "Uncaught")
expect.set_options(timeout=WAIT_MS)


@dataclass
class Console:
    """One page. `faults` is what went wrong in it, `outside` what it asked of others."""

    page: Page
    world: World
    faults: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def row(self, workflow: str) -> Locator:
        return self.page.locator(f'[data-workflow="{workflow}"]')

    @property
    def dialog(self) -> Locator:
        return self.page.get_by_role("dialog")

    async def live(self) -> None:
        """Wait until the page has everything."""
        await expect(self.page.locator("#connection")).to_have_text("Live")
        await expect(self.row("base")).to_be_visible()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here (Debian: apt-get install chromium)")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def world(tiny_files: Path, tmp_path: Path) -> AsyncIterator[World]:
    running = await start(tiny_files, tmp_path, replica="gateway-1", grace_s=0)
    yield running
    await running.gateway.stop()


Opening = Callable[..., Awaitable[Console]]


@pytest_asyncio.fixture(loop_scope="session")
async def opening(browser: Browser, world: World) -> AsyncIterator[Opening]:
    """Opens pages; fails the test for what went wrong in any of them."""
    opened: list[Console] = []

    async def visit(*, live: bool = True, **context: Any) -> Console:
        page = await (await browser.new_context(**context)).new_page()
        console = Console(page, world)
        opened.append(console)
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: console.faults.append(str(error)))
        page.on(
            "console",
            lambda said: (
                console.faults.append(said.text)
                if any(fault in said.text for fault in FAULTS)
                else None
            ),
        )

        async def only_the_gateway(route: Route) -> None:
            if route.request.url.startswith(f"{world.admin}/"):
                await route.continue_()
            else:
                console.outside.append(route.request.url)
                await route.abort()

        await page.context.route("**/*", only_the_gateway)
        await page.goto(f"{world.admin}/")
        if live:
            await console.live()
        return console

    yield visit
    for console in opened:
        await console.page.context.close()
        assert console.faults == []
        assert console.outside == []


@pytest_asyncio.fixture(loop_scope="session")
async def console(opening: Opening) -> Console:
    return await opening()


async def say(world: World, workflow: str, times: int = 1) -> None:
    """Have the workflow answer."""
    body = {"model": workflow, "messages": [{"role": "user", "content": "go"}], "max_tokens": 2}
    async with httpx.AsyncClient(base_url=world.inference, timeout=30) as client:
        for _ in range(times):
            (await client.post("/v1/chat/completions", json=body)).raise_for_status()
