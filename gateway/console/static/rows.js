// The routes: one row for each workflow, kept in place while its figures change.

import { past } from "./api.js";
import { RateChart } from "./chart.js";
import { byId, h, refill, shown, write } from "./dom.js";
import { checks, signalsOf, summary } from "./guards.js";
import { changed, mayOrder, model, on, readGuards } from "./model.js";
import { ask } from "./orders.js";
import { steps } from "./history.js";
import { actor, ago, many, rate, refusal, span } from "./words.js";

const MOST = 200; // rows; the filter finds the others
const SHADOWS_MS = 5000;
const rows = new Map();
let open = null; // the workflow whose details are shown
let shadowsRead = 0;

class Row {
  constructor(workflow) {
    this.workflow = workflow;
    this.chart = new RateChart(
      (tick) => tick.workflows[workflow],
      () => model.marks.filter((mark) => mark.workflow === workflow),
    );
    const id = `w-${workflow}`;
    this.name = h("button", {
      type: "button", class: "name", "aria-expanded": "false", "aria-controls": `${id}-more`,
      onclick: () => toggle(workflow),
    }, h("span", { class: "chevron", "aria-hidden": "true" }), workflow);
    this.about = h("p", { class: "quiet about" });
    this.target = h("p", { class: "target" });
    this.file = h("p", { class: "quiet" });
    this.now = h("span", { class: "figure" });
    this.legend = h("p", { class: "legend quiet" });
    this.guard = h("div", { class: "cell guard" });
    this.actions = h("div", { class: "cell actions" });
    this.hands = h("div", { class: "hands" });
    this.more = h("div", { class: "more", id: `${id}-more`, hidden: true });
    this.element = h(
      "li", { class: "row", id, "data-workflow": workflow },
      h("div", { class: "cell who" }, h("h3", {}, this.name), this.about),
      h("div", { class: "cell where" }, this.target, this.file),
      h("div", { class: "cell rates" },
        h("div", { class: "chart-line" }, this.chart.element, h("p", { class: "rate-now" }, this.now, h("span", { class: "quiet" }, " /s"))),
        this.legend),
      this.guard, this.actions, this.hands, this.more,
    );
  }

  /** All but the figures. */
  update(route) {
    write(this.about, route.description);
    const reason = h("span", { class: `chip ${route.reason}` }, route.reason);
    const split = route.split ? [h("span", { class: "chip canary" }, `${route.split.share} % to ${route.split.target}`)] : [];
    refill(this.target, h("span", { class: "ref" }, route.target), " ", reason, ...split);
    write(this.file, route.differs ? `routes.yaml says ${route.file_target}` : "");
    refill(this.hands, ...hands(route, this.workflow));
    this.element.classList.toggle("attention", needsAttention(this.workflow, route));
    this.#offer(route);
    this.figures(route);
  }

  /** What moves each second. */
  figures(route) {
    const drawn = this.chart.draw();
    write(this.now, rate(drawn.current));
    const named = drawn.targets.length > 1 || (drawn.targets.length === 1 && drawn.targets[0] !== route.target);
    refill(this.legend, ...(named ? drawn.targets.map(key) : []),
      ...(drawn.failing ? [h("span", { class: "bad" }, `${rate(drawn.failing)} /s fail`)] : []));
    refill(this.guard, ...summary(this.workflow, route));
  }

  #offer(route) {
    const offered = route.reason === "default" ? [] : verbs(route);
    if (this.offered === `${offered}${mayOrder()}`) return;
    this.offered = `${offered}${mayOrder()}`;
    const may = mayOrder();
    const focused = this.actions.contains(document.activeElement) ? document.activeElement.dataset.verb : null;
    this.actions.replaceChildren(
      ...offered.map(([verb, label]) =>
        h("button", {
          type: "button", class: ["disable", "abort"].includes(verb) ? "danger" : "", "data-verb": verb,
          "aria-label": `${label} ${this.workflow}`, disabled: !may,
          title: may ? null : "a viewer's key may look, not change", onclick: () => ask(this.workflow, verb),
        }, label),
      ),
    );
    if (focused) (this.actions.querySelector(`[data-verb="${focused}"]`) ?? this.actions.firstElementChild)?.focus();
  }

  /** The details, where they are open. */
  async detail() {
    if (!this.past) {
      this.past = h("div", { class: "past" }, h("p", { class: "quiet" }, "Reading …"));
      this.checks = h("div", { class: "checks" });
      this.more.replaceChildren(this.checks, this.past);
    }
    refill(this.checks, ...checks(this.workflow));
    if (this.pastOf === model.revision) return;
    this.pastOf = model.revision;
    if (model.routes[this.workflow]?.reason === "default") {
      this.past.replaceChildren(h("p", { class: "quiet" }, "The base model is always there; it has no route to change."));
      return;
    }
    try {
      const found = await past(this.workflow);
      this.past.replaceChildren(h("h4", {}, "What it went to"), steps(found.steps));
    } catch (error) {
      this.past.replaceChildren(h("p", { class: "bad" }, refusal(error)));
      this.pastOf = null;
    }
  }
}

function key(target, order) {
  return h("span", { class: "key" }, h("i", { class: target === "base" ? "of-base" : `of-${order % 3}` }), target);
}

/** The orders that make sense for a route, in the order of their buttons. */
function verbs(route) {
  const hand = route.override ?? {};
  return [
    hand.disabled ? ["enable", "Enable"] : ["disable", "Disable"],
    ...(hand.pinned || route.canary?.phase === "aborted" ? [["resume", "Resume"]] : []),
    ...(route.canary?.phase === "running" ? [["promote", "Promote"], ["abort", "Abort"]] : []),
    ["rollback", "Roll back"],
  ];
}

/** Whose hand lies on a route, and what is wrong with it, a line each. */
function hands(route, workflow) {
  const lines = Object.entries(route.override ?? {}).map(([name, hand]) => {
    const to = name === "pinned" ? ` to revision ${hand.to_revision}` : "";
    return h("p", { class: `hand ${name}` },
      h("strong", {}, `${name === "pinned" ? "Pinned" : "Disabled"}${to}`),
      ` by ${actor(hand.actor)} at revision ${hand.revision}, `, h("time", { "data-at": hand.at }, ago(hand.at)),
      hand.reason ? ": " : "", h("q", {}, hand.reason));
  });
  if (route.why) lines.push(h("p", { class: "hand fallback" }, h("strong", {}, "Goes to its fallback"), `: ${route.why}`));
  if (route.canary) lines.push(canary(route.canary));
  for (const [replica, waits] of pendingOf(workflow)) {
    lines.push(h("p", { class: "hand pending" }, h("strong", {}, `Pending on ${replica}`),
      `: waits for ${waits.target}${waits.error ? `, which cannot be held: ${waits.error}` : ""}`));
  }
  return lines;
}

/** How far a canary is, and what it waits for. */
function canary(said) {
  const steps = said.steps.map((share) => `${share} %`).join(", ");
  const next = said.phase !== "running" ? ""
    : said.next_share === null ? "; then it answers everything"
    : `; next ${said.next_share} %${said.left_s === null ? ", by hand" : said.left_s > 0 ? ` in ${span(said.left_s)} at the earliest` : ""}`;
  const waits = said.waits_for.length ? `; it waits for ${said.waits_for.join(", ")}` : "";
  return h("p", { class: `hand ${said.phase === "aborted" ? "fallback" : "canary"}` },
    h("strong", {}, `Canary ${said.adapter}: ${said.phase === "running" ? `${said.share} %` : said.phase}`),
    ` step ${said.step} of ${said.steps.length} (${steps})${next}${waits}; ${actor(said.since.actor)}, `, ago(said.since.at),
    said.since.reason ? ": " : "", h("q", {}, said.since.reason));
}

const pendingOf = (workflow) =>
  (model.health?.replicas ?? []).filter((one) => one.pending[workflow]).map((one) => [one.replica, one.pending[workflow]]);

function needsAttention(workflow, route) {
  const tripped = signalsOf(workflow).some((signal) => signal.tripped);
  return !["route", "default", "canary"].includes(route.reason) || route.differs || tripped || pendingOf(workflow).length > 0;
}

function toggle(workflow) {
  const was = open;
  open = was === workflow ? null : workflow;
  for (const one of [was, workflow]) {
    const row = rows.get(one);
    if (!row) continue;
    shown(row.more, open === one);
    row.name.setAttribute("aria-expanded", String(open === one));
    row.element.classList.toggle("open", open === one);
  }
  if (open) rows.get(open).detail();
}

function matches(workflow, route, wanted) {
  const said = [workflow, route.target, route.reason, route.description, route.why ?? ""].join(" ").toLowerCase();
  return wanted.split(/\s+/).every((word) => said.includes(word));
}

/** Which rows are there: by the filter, the first two hundred. */
function arrange() {
  const wanted = byId("filter").value.trim().toLowerCase();
  const onlyBad = byId("attention").checked;
  const names = Object.keys(model.routes).sort((a, b) => (a === "base") - (b === "base") || (a < b ? -1 : 1));
  const found = names.filter((name) => matches(name, model.routes[name], wanted) && (!onlyBad || needsAttention(name, model.routes[name])));
  const visible = found.slice(0, MOST);
  for (const name of rows.keys()) {
    if (visible.includes(name)) continue;
    rows.get(name).element.remove();
    rows.delete(name);
    if (open === name) open = null;
  }
  const list = byId("rows");
  visible.forEach((name, at) => {
    if (!rows.has(name)) rows.set(name, new Row(name));
    const { element } = rows.get(name);
    if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
    rows.get(name).update(model.routes[name]);
  });
  const rest = byId("rows-rest");
  shown(rest, found.length > MOST || found.length === 0);
  write(rest, found.length === 0
    ? names.length === 0 ? "No routes yet." : onlyBad && !wanted ? "Nothing needs attention." : "No route matches the filter."
    : `${many(found.length - MOST, "more route")}: narrow the filter to see them.`);
  const may = byId("may-not");
  shown(may, model.hello !== null && !mayOrder());
  write(may, model.hello?.key ? `The key ${model.hello.key} is a viewer's: it may look, and change nothing. An operator's key may disable, enable and roll back.` : "");
  if (open) rows.get(open)?.detail();
}

function figures() {
  if (open && model.shadows.has(open) && Date.now() - shadowsRead > SHADOWS_MS) {
    shadowsRead = Date.now();
    readGuards().catch(() => {}); // what they compare is not in the stream
  }
  for (const [name, row] of rows) if (model.routes[name]) row.figures(model.routes[name]);
  if (open) rows.get(open)?.detail();
}

/** Draw the routes, and keep them drawn. */
export function begin() {
  on(["routes", "hello", "health"], arrange);
  on(["rates", "guard"], figures);
  byId("filter").addEventListener("input", arrange);
  byId("filter").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    if (byId("filter").value) { byId("filter").value = ""; arrange(); } else byId("filter").blur();
  });
  byId("attention").addEventListener("change", arrange);
  setInterval(() => changed("routes"), 30_000); // "3 min ago" grows old
}
