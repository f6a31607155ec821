"""What the console shows, and how it looks."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from gateway.serve import Gateway
from tests.gateway.conftest import World
from tests.gateway.console.conftest import Console, Opening, say
from tests.gateway.console.contrast import too_faint

pytestmark = pytest.mark.asyncio(loop_scope="session")
INJECTED = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
NO_SCROLL = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


async def test_every_route_is_there_with_target_reason_and_fleet(console: Console) -> None:
    page = console.page
    await expect(console.row("triage").locator(".target")).to_have_text("triage@1 route")
    await expect(console.row("facts").locator(".target")).to_have_text("base route")
    await expect(console.row("base").locator(".target")).to_have_text("base default")
    await expect(console.row("base").get_by_role("button", name="Disable")).to_have_count(0)
    await expect(page.locator("#fleet")).to_contain_text("gateway-1")
    await expect(page.locator("#fleet .chip")).to_have_text("live")
    await expect(page.locator("#history > li")).to_have_count(1)
    await expect(page.locator("#history")).to_contain_text("triage (none) → triage@1 (route)")


async def test_a_change_made_elsewhere_is_shown_and_said_aloud(console: Console) -> None:
    await console.world.order("POST", "/workflows/triage/disable", reason="nonsense", actor="ada")
    row = console.row("triage")
    await expect(row.locator(".target")).to_have_text("base disabled")
    await expect(row.locator(".hand")).to_contain_text("Disabled by ada at revision 2")
    await expect(row.get_by_role("button", name="Enable triage")).to_be_visible()
    said = console.page.locator('#said[aria-live="polite"]')
    await expect(said).to_contain_text(
        "triage: triage@1 (route) to base (disabled), by ada: nonsense"
    )
    first = console.page.locator("#history > li").first
    await expect(first).to_contain_text("#2 disabled triage by ada")
    await expect(first).to_contain_text("triage triage@1 (route) → base (disabled)")


async def test_an_edit_of_the_file_is_shown_and_compared_with_now(console: Console) -> None:
    routes = console.world.settings.routes
    routes.write_text(routes.read_text().replace("target: triage@1", "target: triage@2"))
    await expect(console.row("triage").locator(".target")).to_have_text("triage@2 route")
    await console.page.get_by_role("button", name="Compare with now: revision 1").click()
    await expect(console.page.locator(".beside")).to_contain_text(
        "triage triage@1 (route) → triage@2 (route)"
    )
    routes.write_text("version: 1\nworkflows: {triage: {target: nothing@9}}\n")
    notice = console.page.locator("#notices")
    await expect(notice).to_contain_text("routes.yaml is not accepted.")
    await expect(notice).to_contain_text("nothing@9")


async def test_what_people_write_is_text(console: Console) -> None:
    await console.world.order(
        "POST", "/workflows/triage/disable", reason=INJECTED, actor="<b>ada</b>"
    )
    page = console.page
    await expect(console.row("triage").locator(".hand q")).to_have_text(INJECTED)
    await expect(page.locator("#history q")).to_have_text(INJECTED)
    await expect(page.locator("#said")).to_contain_text(INJECTED)
    await console.row("triage").locator(".name").click()
    await expect(console.row("triage").locator(".past q")).to_have_text(INJECTED)
    assert await page.locator("main img, main script, main b").count() == 0
    assert await page.title() == "Gateway console"


async def test_requests_are_charted_by_target_as_they_happen(console: Console) -> None:
    row = console.row("triage")
    await expect(row.locator(".rate-now")).to_have_text("0 /s")
    await say(console.world, "triage", 3)
    await expect(row.locator(".rate-now")).not_to_have_text("0 /s")
    await expect(row.locator(".area")).not_to_have_count(0)
    chart = row.get_by_role("img", name=re.compile(r"now \d+\.\d, at most"))
    await expect(chart).to_be_visible()


async def test_a_trip_of_a_guard_is_shown_with_its_why_and_evidence(console: Console) -> None:
    world, row = console.world, console.row("triage")
    await expect(row.locator(".guard")).to_have_text("Not watched")
    guard = "    guard: {checks: {labels: {labels: [spam, ham]}}}\n"
    text = world.settings.routes.read_text()
    world.settings.routes.write_text(text.replace("temperature: 0\n", f"temperature: 0\n{guard}"))
    await expect(row.locator(".guard")).to_have_text("Watched; no answer seen yet")
    await say(world, "triage", 1)
    await expect(row.get_by_role("meter", name="labels: way to a trip")).to_be_visible()
    await row.locator(".name").click()
    await expect(row.locator(".checks tbody th")).to_have_text("labels")
    while world.gateway.plane.table.decisions["triage"].reason == "route":
        await say(world, "triage", 1)
    await expect(row.locator(".guard")).to_contain_text("Tripped: labels")
    await expect(row.locator(".hand.disabled").first).to_contain_text("Disabled by guard")
    await expect(console.page.locator(".by-guard")).to_contain_text("answers are bad")


async def test_only_what_needs_attention_and_the_filter_narrow_the_rows(console: Console) -> None:
    page = console.page
    routes = console.world.settings.routes
    more = "".join(f"  w{number:03}: {{target: base}}\n" for number in range(210))
    routes.write_text(routes.read_text() + more)
    await expect(page.locator("#rows-rest")).to_contain_text("13 more routes")
    await expect(page.locator(".row")).to_have_count(200)
    await page.get_by_label("Filter routes").fill("w207")
    await expect(page.locator(".row")).to_have_count(1)
    await page.get_by_label("Filter routes").fill("triage@1 route")
    await expect(page.locator(".row .name")).to_have_text(["triage"])
    await page.get_by_label("Filter routes").fill("")
    await page.get_by_label("Only what needs attention").check()
    await expect(page.locator("#rows-rest")).to_have_text("Nothing needs attention.")
    await console.world.order("POST", "/workflows/facts/disable", reason="r")
    await expect(page.locator(".row .name")).to_have_text(["facts"])


async def test_a_phone_never_scrolls_sideways(opening: Opening) -> None:
    console = await opening(viewport={"width": 360, "height": 740}, has_touch=True)
    await console.world.order(
        "POST", "/workflows/triage/disable", reason="a-very-long-word-" * 20, actor="a" * 100
    )
    await expect(console.row("triage").locator(".hand")).to_be_visible()
    await console.row("triage").locator(".name").tap()
    await expect(console.row("triage").locator(".past li").first).to_be_visible()
    assert await console.page.evaluate(NO_SCROLL)
    await console.row("triage").get_by_role("button", name="Enable").tap()
    await expect(console.dialog).to_be_visible()
    box = await console.dialog.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert await console.page.evaluate(NO_SCROLL)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_stands_out_from_its_ground(opening: Opening, scheme: str) -> None:
    console = await opening(color_scheme=scheme)
    ground = await console.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 3 * 128) is (scheme == "dark")
    await console.world.order("POST", "/workflows/triage/disable", reason="r")
    await console.world.order("POST", "/workflows/facts/disable", reason="r")
    await expect(console.row("facts").locator(".hand")).to_be_visible()
    assert await too_faint(console.page, "body") == []
    await console.row("triage").get_by_role("button", name="Roll back").click()
    await expect(console.dialog.get_by_role("radio").first).to_be_attached()
    assert await too_faint(console.page, "dialog") == []


async def test_a_restart_is_told_and_what_was_missed_is_read(
    opening: Opening, world: World
) -> None:
    console = await opening()
    pill, said = console.page.locator("#connection"), console.page.locator("#said")
    ports = world.gateway.ports
    await world.gateway.stop()
    await expect(pill).to_contain_text("Away for")
    await expect(said).to_contain_text("The gateway is away")
    settings = world.settings.model_copy(update={"port": ports[0], "admin_port": ports[1]})
    text = settings.routes.read_text()
    settings.routes.write_text(text.replace("target: triage@1", "target: triage@2"))
    world.gateway = Gateway(settings)
    await world.gateway.start()
    await expect(pill).to_have_text("Live")
    await expect(said).to_contain_text("and was restarted. 1 revision meanwhile.")
    await expect(console.row("triage").locator(".target")).to_have_text("triage@2 route")
