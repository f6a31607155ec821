"""How far text stands out from what is behind it, as WCAG 2 counts it."""

from __future__ import annotations

from playwright.async_api import Page

LEAST = 4.5  # level AA, for text of any size

_FIND = """
([root, least]) => {
  const read = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((c, i) => c * a + below[i] * (1 - a));
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      layers.push(read(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === undefined) break;
    }
    return layers.reverse().reduce((ground, layer) => over(layer, ground), [255, 255, 255]);
  };
  const light = (colour) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const node of document.querySelector(root).querySelectorAll("*")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest(".unseen, .skip, svg, :disabled")) continue;
    const ground = behind(node);
    const [a, b] = [light(over(read(getComputedStyle(node).color), ground)), light(ground)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const named = `${node.tagName}.${node.className}`;
    if (ratio < least) found.push(`${ratio.toFixed(2)} ${named}: ${node.textContent}`);
  }
  return found;
}
"""


async def too_faint(page: Page, root: str) -> list[str]:
    """The texts under `root` whose contrast is below `LEAST`."""
    found: list[str] = await page.evaluate(_FIND, [root, LEAST])
    return found
