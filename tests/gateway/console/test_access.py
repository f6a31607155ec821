"""Keys on the console: who is asked for one, where it is kept, what a viewer may do."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from gateway.access.values import Role
from tests.gateway.api.test_operator_keys import call, make
from tests.gateway.conftest import World
from tests.gateway.console.conftest import Opening

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_viewer_is_asked_for_the_key_and_may_look_alone(
    opening: Opening, world: World
) -> None:
    boss = await make(world, "boss", Role.APPROVER)
    viewer = await make(world, "dashboard", Role.VIEWER, boss)
    console = await opening(live=False)
    page, dialog = console.page, console.dialog
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await expect(dialog).to_contain_text("A key is needed")
    await page.keyboard.press("Escape")  # there is nothing behind it
    await dialog.get_by_label("Operator key").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_contain_text("unknown or was revoked")
    await dialog.get_by_label("Operator key").fill(viewer)
    await dialog.get_by_role("button", name="Open").click()
    await console.live()
    await expect(page.locator("#who")).to_contain_text("dashboard, viewer")
    await expect(page.locator("#may-not")).to_contain_text("is a viewer's: it may look")
    for name in ("Disable triage", "Roll back triage"):
        await expect(page.get_by_role("button", name=name)).to_be_disabled()
    assert not [url for url in asked if viewer in url]
    assert await page.context.cookies() == []
    assert await page.evaluate("localStorage.length") == 0
    assert await page.evaluate("Object.values(sessionStorage)") == [viewer]
    await page.get_by_role("button", name="Forget key").click()
    await expect(dialog).to_contain_text("A key is needed")
    assert await page.evaluate("sessionStorage.length") == 0


async def test_an_order_is_signed_with_the_key_and_a_revoked_key_is_asked_for_again(
    opening: Opening, world: World
) -> None:
    boss = await make(world, "boss", Role.APPROVER)
    night = await make(world, "night-shift", Role.OPERATOR, boss)
    console = await opening(live=False)
    await console.dialog.get_by_label("Operator key").fill(night)
    await console.page.keyboard.press("Enter")
    await console.live()
    await console.row("triage").get_by_role("button", name="Disable triage").click()
    await expect(console.dialog.get_by_label("Your name")).to_have_count(0)
    await console.dialog.get_by_label("Reason").fill("nonsense")
    await console.dialog.get_by_role("button", name="Disable triage").click()
    await expect(console.dialog).to_contain_text("obeyed")
    (event,) = await world.gateway.plane.history(limit=1)
    assert event.actor == "key:night-shift"
    await console.page.keyboard.press("Escape")
    await call(world, boss, "POST", "/keys/night-shift/revoke", reason="shift is over")
    await expect(console.dialog).to_contain_text("unknown or was revoked")
