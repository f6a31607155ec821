// Small charts, drawn as SVG: requests a second by target, and where a rate lies.

import { model, WINDOW_S } from "./model.js";
import { s } from "./dom.js";
import { now, rate } from "./words.js";

const WIDTH = 240;
const HEIGHT = 40;
const GAP_S = 3; // without a tick for longer, the gateway was away: no line is drawn over it

/**
 * A stacked area of requests a second; one colour a target, in the order in which they first come.
 * `of(tick)` gives a tick's rates: a map of target to `{ per_s, failed_per_s }`.
 */
export class RateChart {
  #of;
  #marks;
  #areas = s("g");
  #failed = s("path", { class: "failed" });
  #lines = s("g");
  #targets = [];

  constructor(of, marks = () => []) {
    this.#of = of;
    this.#marks = marks;
    this.element = s(
      "svg",
      { class: "rate-chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      s("line", { class: "floor", x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
      this.#areas, this.#failed, this.#lines,
    );
  }

  /** The targets that are drawn, with what each does now. */
  draw() {
    const at = now();
    const ticks = model.ticks.map((tick) => ({ x: place(tick.at, at), at: tick.at, rates: this.#of(tick) ?? {} }));
    for (const tick of ticks) {
      for (const target of Object.keys(tick.rates)) {
        if (!this.#targets.includes(target)) this.#targets.push(target);
      }
    }
    this.#targets = this.#targets.filter((target) => ticks.some((tick) => tick.rates[target]));
    const total = (tick) => this.#targets.reduce((sum, target) => sum + per(tick, target), 0);
    const most = Math.max(1, ...ticks.map(total));
    const y = (value) => HEIGHT - 1 - (value / most) * (HEIGHT - 4);
    const pieces = runs(ticks);
    let below = () => 0;
    const areas = this.#targets.map((target, order) => {
      const base = below;
      const top = (tick) => base(tick) + per(tick, target);
      below = top;
      return s("path", {
        class: target === "base" ? "area of-base" : `area of-${order % 3}`,
        d: pieces.map((piece) => area(piece, (t) => y(top(t)), (t) => y(base(t)))).join(""),
      });
    });
    this.#areas.replaceChildren(...areas.reverse());
    const failed = (tick) => Object.values(tick.rates).reduce((sum, one) => sum + one.failed_per_s, 0);
    const failing = ticks.some((tick) => failed(tick) > 0);
    this.#failed.setAttribute("d", failing ? pieces.map((p) => area(p, (t) => y(failed(t)), () => y(0))).join("") : "");
    this.#lines.replaceChildren(
      ...this.#marks().map((mark) =>
        s("line", { class: "mark", x1: place(mark.at, at), x2: place(mark.at, at), y1: 0, y2: HEIGHT }),
      ),
    );
    const last = ticks.at(-1);
    const current = last ? total(last) : 0;
    this.element.setAttribute(
      "aria-label",
      `Requests a second over two minutes: now ${rate(current)}, at most ${rate(Math.max(0, ...ticks.map(total)))}`,
    );
    return { current, failing: last ? failed(last) : 0, targets: this.#targets };
  }
}

const per = (tick, target) => tick.rates[target]?.per_s ?? 0;
const place = (moment, at) => Number((WIDTH * (1 - (at - moment) / WINDOW_S)).toFixed(2));

/** Ticks in pieces without a gap. */
function runs(ticks) {
  const found = [];
  for (const tick of ticks) {
    const piece = found.at(-1);
    if (piece && tick.at - piece.at(-1).at < GAP_S) piece.push(tick);
    else found.push([tick]);
  }
  return found.filter((piece) => piece.length > 1);
}

function area(piece, top, bottom) {
  const over = piece.map((tick) => `${tick.x},${top(tick).toFixed(2)}`);
  const under = piece.map((tick) => `${tick.x},${bottom(tick).toFixed(2)}`).reverse();
  return `M${[...over, ...under].join("L")}Z`;
}

/** A rate with its interval beside what is allowed, on one scale; a difference has a zero inside. */
export function interval({ rate: seen, interval: [low, high], bound, seen: count }) {
  const least = Math.min(0, Math.max(low, -4 * Math.abs(bound)), seen * 1.2);
  const most = Math.min(1, Math.max(bound * 2.5, Math.min(high, bound * 6), seen * 1.3, 0.01));
  const x = (value) => Math.max(0, Math.min(100, ((value - least) / (most - least)) * 100));
  return s(
    "svg",
    { class: "interval", viewBox: "0 0 100 12", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "ground", x: 0, y: 0, width: 100, height: 12 }),
    s("rect", { class: "allowed", x: 0, y: 0, width: x(bound), height: 12 }),
    ...(count ? [
      s("rect", { class: "likely", x: x(low), y: 4.5, width: Math.max(1, x(high) - x(low)), height: 3 }),
      s("rect", { class: "seen", x: Math.max(0, x(seen) - 1), y: 2, width: 2, height: 8 }),
    ] : []),
    s("line", { class: "bound", x1: x(bound), x2: x(bound), y1: 0, y2: 12 }),
  );
}
