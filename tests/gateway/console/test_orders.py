"""Orders given on the console: the reason, the confirmation, and what is said of a refusal."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Route, expect

from gateway.routing.events import RouteDisabled, RoutePinned
from tests.gateway.console.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_disable_asks_for_a_reason_and_names_who_obeys(console: Console) -> None:
    plane = console.world.gateway.plane
    await console.row("triage").get_by_role("button", name="Disable triage").click()
    dialog = console.dialog
    await expect(dialog).to_contain_text("New requests go to base")
    await expect(dialog.get_by_label("Reason")).to_be_focused()
    confirm = dialog.get_by_role("button", name="Disable triage")
    await confirm.click()
    assert plane.table.revision == 1  # no order without a reason
    await dialog.get_by_label("Reason").fill("   ")
    await confirm.click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Say why")
    assert plane.table.revision == 1
    await dialog.get_by_label("Reason").fill("answers nonsense")
    await dialog.get_by_label("Your name").fill("ada")
    await dialog.get_by_label("start again on the new target").check()
    await confirm.click()
    await expect(dialog).to_contain_text("triage: triage@1 (route) → base (disabled) at revision 2")
    await expect(dialog.locator(".acks tbody tr")).to_have_text(
        re.compile(r"gateway-1\s*obeyed\s*serves revision 2")
    )
    (event,) = await plane.history(limit=1)
    assert (event.actor, event.reason) == ("ada", "answers nonsense")
    assert event.change == RouteDisabled("triage", "restart")
    await dialog.get_by_role("button", name="Close").click()
    await expect(console.row("triage").get_by_role("button", name="Enable triage")).to_be_focused()


async def test_a_rollback_leads_to_the_revision_that_is_chosen(console: Console) -> None:
    world = console.world
    routes = world.settings.routes
    first = routes.read_text()
    routes.write_text(first.replace("max_tokens: 400", "max_tokens: 300"))
    await world.until(lambda: world.gateway.plane.table.revision == 2)
    routes.write_text(first.replace("target: triage@1", "target: triage@2"))
    await expect(console.row("triage").locator(".target")).to_have_text("triage@2 route")
    await console.row("triage").get_by_role("button", name="Roll back triage").click()
    choice = console.dialog.get_by_role("group", name="Back to").get_by_role("radio")
    await expect(choice).to_have_count(3)
    await expect(console.dialog.get_by_label(re.compile("#3"))).to_be_disabled()
    await expect(console.dialog.get_by_label(re.compile("#2"))).to_be_checked()
    await console.dialog.get_by_label(re.compile("#1")).check()
    await console.dialog.get_by_label("Reason").fill("version 2 is worse")
    await console.dialog.get_by_role("button", name="Roll back triage").click()
    await expect(console.dialog).to_contain_text("triage@2 (route) → triage@1 (pinned)")
    (event,) = await world.gateway.plane.history(limit=1)
    assert isinstance(event.change, RoutePinned)
    assert event.change.to_revision == 1
    await console.page.keyboard.press("Escape")
    await expect(console.row("triage").locator(".hand")).to_contain_text("Pinned to revision 1")
    await console.row("triage").get_by_role("button", name="Resume triage").click()
    await console.dialog.get_by_label("Reason").fill("version 2 was mended")
    await console.dialog.get_by_role("button", name="Resume triage").click()
    await expect(console.dialog).to_contain_text("triage@1 (pinned) → triage@2 (route)")


async def test_all_of_it_goes_by_keyboard(console: Console) -> None:
    keys, page = console.page.keyboard, console.page
    await keys.press("/")
    await expect(page.get_by_label("Filter routes")).to_be_focused()
    await keys.type("tri")
    await expect(page.locator(".row")).to_have_count(1)
    await keys.press("Escape")
    await expect(page.locator(".row")).to_have_count(3)
    await keys.press("Escape")
    await keys.press("?")
    await expect(console.dialog).to_contain_text("filter the routes")
    await keys.press("Escape")
    await expect(console.dialog).to_have_count(0)
    await keys.press("j")
    await keys.press("j")
    name = console.row("triage").locator(".name")
    await expect(name).to_be_focused()
    outline = await name.evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    await keys.press("Enter")
    await expect(name).to_have_attribute("aria-expanded", "true")
    await keys.press("Enter")
    await keys.press("Tab")
    await expect(console.row("triage").get_by_role("button", name="Disable triage")).to_be_focused()
    await keys.press("Enter")
    await keys.press("Escape")
    await expect(console.dialog).to_have_count(0)
    await expect(console.row("triage").get_by_role("button", name="Disable triage")).to_be_focused()
    await keys.press("Enter")
    await keys.type("by keyboard")
    for _ in range(4):  # name, running requests, cancel, confirm
        await keys.press("Tab")
    await keys.press("Enter")
    await expect(console.dialog).to_contain_text("obeyed")
    await keys.press("Enter")
    await expect(console.dialog).to_have_count(0)
    (event,) = await console.world.gateway.plane.history(limit=1)
    assert (event.change.kind, event.reason) == ("route_disabled", "by keyboard")


async def test_who_moved_the_log_is_said_and_a_second_confirmation_decides(
    console: Console,
) -> None:
    world, faster = console.world, [True, False]

    async def somebody_is_faster(route: Route) -> None:
        if faster.pop(0):
            await world.order("POST", "/workflows/facts/disable", reason="mine", actor="bob")
        await route.fallback()

    await console.row("triage").get_by_role("button", name="Disable triage").click()
    await console.dialog.get_by_label("Reason").fill("nonsense")
    await console.page.route("**/disable", somebody_is_faster)
    confirm = console.dialog.get_by_role("button", name="Disable triage")
    await confirm.click()
    await expect(console.dialog.get_by_role("alert")).to_contain_text(
        "revision 2 was made by bob, and you decided on revision 1"
    )
    await confirm.click()
    await expect(console.dialog).to_contain_text("triage@1 (route) → base (disabled) at revision 3")


async def test_a_change_of_the_same_route_is_told_while_one_decides(console: Console) -> None:
    world = console.world
    await console.row("triage").get_by_role("button", name="Roll back triage").click()
    await expect(console.dialog.get_by_role("group", name="Back to")).to_contain_text(
        "There is no other route to go back to."
    )
    await expect(console.dialog.get_by_role("button", name="Roll back triage")).to_be_disabled()
    await world.order("POST", "/workflows/triage/disable", reason="r", actor="bob")
    await expect(console.dialog.get_by_role("alert")).to_contain_text(
        "triage has just changed: triage@1 (route) became base (disabled), disabled by bob"
    )


async def test_a_gateway_that_goes_away_leaves_the_outcome_open(console: Console) -> None:
    await console.row("triage").get_by_role("button", name="Disable triage").click()
    await console.dialog.get_by_label("Reason").fill("nonsense")
    await console.page.route("**/disable", lambda route: route.abort())
    await console.dialog.get_by_role("button", name="Disable triage").click()
    await expect(console.dialog.get_by_role("alert")).to_contain_text(
        "It is not known whether the order took effect"
    )
