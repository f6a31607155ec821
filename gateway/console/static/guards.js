// What the guards know: a cell in each row, and the evidence of every check.

import { interval } from "./chart.js";
import { h } from "./dom.js";
import { model } from "./model.js";
import { ago, many, percent } from "./words.js";

/** How far a check is on its way to a trip. */
export function meter(progress, tripped, label) {
  const share = Math.round(progress * 100);
  const bar = h("span", { class: tripped ? "fill tripped" : share >= 60 ? "fill near" : "fill" });
  bar.style.width = `${share}%`;
  return h("span", { class: "meter", role: "meter", "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": share, "aria-label": label }, bar);
}

/** Every signal of a workflow's guards: of this gateway, and of all together where they pool. */
export function signalsOf(workflow) {
  return (model.guards.get(workflow) ?? []).flatMap((guard) => [
    ...guard.signals.map((signal) => ({ ...signal, title: titled(guard, signal.name), workflow })),
    ...(guard.pooled ?? []).map((signal) => ({ ...signal, title: `${titled(guard, signal.name)}, all gateways`, workflow })),
  ]);
}

const titled = (guard, name) => (guard.arm === "canary" ? `${name} of the canary` : name);

/** The nearest check of a row's guard, or why there is none. */
export function summary(workflow, route) {
  const guards = model.guards.get(workflow) ?? [];
  const signals = signalsOf(workflow);
  if (!signals.length) {
    const why = model.watched.has(workflow) ? "Watched; no answer seen yet" : route.reason === "default" ? "" : "Not watched";
    return [h("p", { class: "quiet" }, why)];
  }
  const trip = guards.flatMap((guard) => guard.trips).sort((a, b) => a.at - b.at).at(-1);
  const tripped = signals.find((signal) => signal.tripped);
  if (trip || tripped) {
    const why = trip?.why ?? tripped.line_of_text;
    const told = Object.values(route.override ?? {}).some((hand) => hand.reason === why); // beside it already
    return [
      h("p", { class: "bad trip" }, h("strong", {}, `Tripped: ${trip?.check ?? tripped.title}`),
        trip ? h("span", { class: "quiet" }, ` ${ago(trip.at)}, ${trip.action}`) : ""),
      ...(told ? [] : [h("p", { class: "why", title: why }, why)]),
    ];
  }
  const nearest = signals.reduce((a, b) => (b.progress > a.progress ? b : a));
  const seen = Math.max(...signals.map((signal) => signal.seen));
  return [
    h("p", { class: "way" }, meter(nearest.progress, false, `${nearest.title}: way to a trip`), h("span", { class: "figure" }, percent(nearest.progress))),
    h("p", { class: "quiet" }, nearest.progress > 0 ? `to a trip of ${nearest.title}, ` : "to a trip, ", many(seen, "answer")),
  ];
}

/** Every check of a workflow's guards, with its evidence, and its shadow. */
export function checks(workflow) {
  const guards = model.guards.get(workflow) ?? [];
  const shadow = model.shadows.get(workflow);
  const none = model.watched.has(workflow)
    ? "Its guard has seen no answer of this version yet."
    : "This route has no guard; routes.yaml gives it one.";
  return [
    ...(guards.length ? guards.flatMap(guarded) : [h("h4", {}, "Guard"), h("p", { class: "quiet" }, none)]),
    ...(shadow ? shadowed(shadow) : []),
  ];
}

function guarded(guard) {
  const pooled = (guard.pooled ?? []).map((signal) => ({ ...signal, name: `${signal.name}, all gateways` }));
  return [
    h("h4", {}, guard.arm === "canary" ? "Guard of the canary" : "Guard"),
    h("p", { class: "quiet" }, `On ${guard.target}. The chance that it ever acts on a healthy version is at most ${percent(guard.alpha)}; a trip leads to ${guard.on_trip}.`),
    ...guard.trips.map((trip) => h("p", { class: "hand disabled" }, h("strong", {}, `${trip.check}: ${trip.action}`), ` ${ago(trip.at)}: `, h("q", {}, trip.why))),
    h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Evidence of each check" },
      h("table", {},
        h("thead", {}, h("tr", {}, ...["Check", "Seen", "Rate beside what is allowed", "Way to a trip", "Then"].map((text) => h("th", { scope: "col" }, text)))),
        h("tbody", {}, ...[...guard.signals, ...pooled].map(line)))),
  ];
}

function line(signal) {
  const [low, high] = signal.interval;
  const paired = ["shadow", "control"].includes(signal.compared);
  return h("tr", signal.tripped ? { class: "tripped" } : {},
    h("th", { scope: "row" }, signal.name),
    h("td", { class: "number" }, signal.seen.toLocaleString("en")),
    h("td", { class: "rate-cell" }, interval(signal), h("span", { class: "quiet" },
      signal.seen
        ? `${percent(signal.rate, 1)} (${percent(low, 1)} to ${percent(high, 1)}), allowed ${percent(signal.bound, 1)}${paired ? ` over the ${signal.compared}'s` : ""}`
        : `allowed ${percent(signal.bound, 1)}${paired ? ` over the ${signal.compared}'s` : ""}`)),
    h("td", {}, h("span", { class: "way" }, meter(signal.progress, signal.tripped, `${signal.name}: way to a trip`), h("span", { class: "figure" }, signal.tripped ? "tripped" : percent(signal.progress)))),
    h("td", {}, signal.action));
}

function shadowed(shadow) {
  const agree = shadow.agreement === null ? "" : `; they agree by ${percent(shadow.agreement, 1)}`;
  return [
    h("h4", {}, "Shadow"),
    h("p", {}, h("span", { class: "ref" }, shadow.shadow), ` is asked ${shadow.share} % of the requests as well: ${many(shadow.pairs, "pair")} compared${agree}.`),
    h("ul", { class: "quiet" }, ...shadow.checks.map((one) =>
      h("li", {}, `${one.check}: ${percent(one.rate, 1)} bad, the shadow's ${percent(one.shadow_rate, 1)}`))),
  ];
}
