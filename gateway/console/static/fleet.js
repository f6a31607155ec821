// The replicas, the summary above, and what is not as it should be.

import { RateChart } from "./chart.js";
import { byId, h, refill, write } from "./dom.js";
import { signalsOf } from "./guards.js";
import { model, on } from "./model.js";
import { actor, ago, kind, many, percent, rate, span } from "./words.js";

const overall = new RateChart((tick) => {
  const total = { per_s: 0, failed_per_s: 0 };
  for (const targets of Object.values(tick.workflows)) {
    for (const one of Object.values(targets)) {
      total.per_s += one.per_s;
      total.failed_per_s += one.failed_per_s;
    }
  }
  return { all: total };
});

const tile = (name, ...children) => h("div", { class: "tile" }, h("p", { class: "quiet" }, name), ...children);
const figures = {
  requests: h("p", { class: "big" }),
  tokens: h("p", { class: "big" }),
  tokensNote: h("p", { class: "quiet" }),
  revision: h("p", { class: "big" }),
  revisionNote: h("p", { class: "quiet" }),
  guards: h("p", { class: "big" }),
  guardsNote: h("p", { class: "quiet" }),
};

function drawRates() {
  const { current } = overall.draw();
  write(figures.requests, `${rate(current)} /s`);
  write(figures.tokens, `${rate(model.ticks.at(-1)?.tokens_per_s ?? 0)} /s`);
}

function drawSummary() {
  write(figures.revision, `#${model.revision}`);
  const last = model.revisions[0];
  write(figures.revisionNote, last ? `${kind(last.kind)} by ${actor(last.actor)}, ${ago(last.at)}` : "");
  const signals = [...model.guards.keys()].flatMap(signalsOf);
  const tripped = [...model.guards].filter(([, guards]) => guards.some((guard) => guard.trips.length || guard.signals.some((one) => one.tripped)));
  const nearest = signals.reduce((a, b) => (a && a.progress >= b.progress ? a : b), null);
  figures.guards.classList.toggle("bad", tripped.length > 0);
  write(figures.guards, tripped.length ? `${tripped.length} tripped` : nearest ? `${percent(nearest.progress)}` : model.watched.size ? "0 %" : "none");
  const sayNearest = nearest?.progress > 0 ? `nearest to a trip: ${nearest.workflow}` : `${many(model.watched.size, "route")} watched`;
  write(figures.guardsNote, tripped.length ? tripped.map(([workflow]) => workflow).join(", ") : model.watched.size ? sayNearest : "no route has a guard");
}

function drawHealth() {
  const { health } = model;
  if (!health) return;
  const { stats } = health;
  write(figures.tokensNote, `${many(stats.running_rows, "row")} running, ${stats.queue_depth} waiting`);
  refill(byId("fleet"), ...health.replicas.map(replica));
  drawNotices();
}

function replica(one) {
  const behind = model.revision - one.revision;
  const state = !one.live ? ["lost", "lost"] : behind > 0 ? ["behind", `${behind} behind`] : ["ok", "live"];
  const waits = Object.entries(one.pending);
  return h("li", {},
    h("p", { class: "replica-name" }, h("span", { class: "ref" }, one.replica), one.replica === model.hello?.replica ? h("span", { class: "quiet" }, " this one") : null,
      h("span", { class: `chip ${state[0]}` }, state[1])),
    h("p", { class: "quiet" }, `revision ${one.revision}, heard of ${one.seen_s < 2 ? "just now" : `${span(one.seen_s)} ago`}, up ${upFor(one.started)}`),
    one.inference ? h("p", { class: "quiet" }, h("span", { class: "address" }, one.inference), ...itsConsole(one)) : null,
    ...waits.map(([workflow, w]) => h("p", { class: "hand pending" }, h("strong", {}, workflow), ` waits for ${w.target}: ${w.error ?? "it is being loaded"}`)));
}

/** A way to the rates of another replica: each shows its own. */
function itsConsole({ replica: name, admin }) {
  if (name === model.hello?.replica || !/^https?:/.test(admin)) return [];
  return [" ", h("a", { href: `${admin}/console/`, rel: "noreferrer" }, "its console")];
}

const upFor = (started) => ago(started).replace(" ago", "").replace("just now", "a moment");

function drawNotices() {
  const { health, remarks } = model;
  const found = [];
  const say = (level, title, text) => found.push(h("div", { class: `notice ${level}` }, h("p", {}, h("strong", {}, title), " ", text)));
  if (health.ready !== "ok") say("bad", "Not ready.", health.ready);
  if (!health.stats.healthy) say("bad", "The engine has failed.", "Restart the gateway; its log says why.");
  if (!health.log.ok) say("bad", "The log is away.", `The last good table is served since ${span(health.log.stale_seconds)}. Orders are refused, but a disable can be obeyed on this replica alone.`);
  if (health.log.owed) say("warn", "Orders are owed.", `${many(health.log.owed, "order")} obeyed here alone until the log is back.`);
  if (health.log.copy_error) say("warn", "This replica's copy of the log is behind.", health.log.copy_error);
  if (!health.routes_file.ok) {
    const lines = health.routes_file.problems.map((one) => `${one.line ? `${one.line}:${one.column}: ` : ""}${one.field ? `${one.field}: ` : ""}${one.message}`);
    found.push(h("div", { class: "notice bad" }, h("p", {}, h("strong", {}, "routes.yaml is not accepted."), " The table before it is served."),
      h("ul", {}, ...lines.map((text) => h("li", {}, text)))));
  } else if (!health.routes_file.in_force) say("warn", "A table that came over the API lies above routes.yaml.", "Apply the file to put it back.");
  for (const [ref, why] of Object.entries(health.unavailable_adapters)) say("bad", `${ref} cannot be served.`, `Its routes go to their fallback: ${why}`);
  for (const one of remarks.adapters) if (!(one.ref in health.unavailable_adapters)) say("warn", `${one.ref} is damaged on disk.`, one.reason);
  for (const one of remarks.gates) say("warn", `${one.ref} is approved in spite of its gate (${one.gate}).`, `By ${actor(one.by.actor)} at revision ${one.by.revision}: ${one.by.reason}`);
  if (model.guardLimits.acts >= model.guardLimits.most && model.guardLimits.acts > 0) {
    say("warn", "The guards have acted as often as they may in an hour.", "They only alert now.");
  }
  refill(byId("notices"), ...found);
}

/** Draw them, and keep them drawn. */
export function begin() {
  byId("summary").append(
    tile("Requests", h("div", { class: "tile-chart" }, figures.requests, overall.element)),
    tile("Tokens", figures.tokens, figures.tokensNote),
    tile("Guards", figures.guards, figures.guardsNote),
    tile("Revision", figures.revision, figures.revisionNote),
  );
  on(["rates"], drawRates);
  on(["routes", "history", "guard"], drawSummary);
  on(["health", "hello", "remarks", "routes"], drawHealth);
}
