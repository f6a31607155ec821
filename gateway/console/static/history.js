// The revisions with what each changed, newest first.

import { get } from "./api.js";
import { byId, h, refill, shown } from "./dom.js";
import { model, on, readChanges, readOlder } from "./model.js";
import { actor, ago, decision, kind, many, moment, refusal, subject } from "./words.js";

const compared = new Map(); // by revision: the lines of its difference to the live table
const SHOWN_CHANGES = 6;

/** A table's changes, a line each. */
export function diff(changes) {
  const lines = changes.slice(0, SHOWN_CHANGES).map((change) =>
    h("li", {}, h("span", { class: "ref" }, change.workflow), " ",
      h("del", {}, decision(change.before)), h("span", { "aria-hidden": "true" }, " → "), h("ins", {}, decision(change.after))));
  const rest = changes.length - SHOWN_CHANGES;
  return h("ul", { class: "diff" }, ...lines, rest > 0 ? h("li", { class: "quiet" }, `and ${many(rest, "more workflow")}`) : null);
}

/** What one workflow went to, newest first. */
export function steps(found) {
  return h("ol", { class: "history small" }, ...found.map((step) =>
    h("li", {}, h("p", {}, number(step.revision), " ", h("strong", {}, kind(step.kind)), ` by ${actor(step.actor)}, `, when(step.at)),
      step.reason ? h("p", { class: "reason" }, h("q", {}, step.reason)) : null,
      h("p", { class: "diff" }, h("del", {}, decision(step.before)), h("span", { "aria-hidden": "true" }, " → "), h("ins", {}, decision(step.after))))));
}

const number = (revision) => h("span", { class: "revision" }, `#${revision}`);
const when = (at) => h("time", { datetime: new Date(at * 1000).toISOString(), title: moment(at) }, ago(at));

function item(event) {
  const changes = model.changes.get(event.revision);
  const what = subject(event.change ?? {});
  const parts = [
    h("p", {}, number(event.revision), " ", h("strong", {}, kind(event.kind)), what ? " " : "", what ? h("span", { class: "ref" }, what) : null,
      ` by ${actor(event.actor)}, `, when(event.at)),
    event.reason ? h("p", { class: "reason" }, h("q", {}, event.reason)) : null,
  ];
  if (!changes) parts.push(button(event.revision, "show", "What it changed"));
  else if (changes.length) parts.push(diff(changes));
  else parts.push(h("p", { class: "quiet" }, "No route went elsewhere."));
  const beside = compared.get(event.revision);
  if (beside) parts.push(h("div", { class: "beside" }, h("p", { class: "quiet" }, beside.said), beside.changes.length ? diff(beside.changes) : null));
  else if (changes && event.revision < model.revision) parts.push(button(event.revision, "compare", "Compare with now"));
  return h("li", { class: event.actor === "guard" ? "by-guard" : "" }, ...parts);
}

const button = (revision, what, label) =>
  h("button", { type: "button", class: "plain", "data-revision": revision, "data-what": what, "aria-label": `${label}: revision ${revision}` }, label);

async function compare(revision) {
  const found = await get(`/diff?a=${revision}`);
  const said = found.changes.length ? `From revision ${revision} to ${found.to}:` : `Routes are now as they were at revision ${revision}.`;
  compared.set(revision, { said, changes: found.changes });
}

function draw() {
  const focused = document.activeElement?.dataset ?? {};
  const list = byId("history");
  refill(list, ...model.revisions.map(item));
  if (focused.revision && !list.contains(document.activeElement)) {
    list.querySelector(`[data-revision="${focused.revision}"]`)?.focus();
  }
  shown(byId("older"), (model.revisions.at(-1)?.revision ?? 1) > 1);
}

/** Draw the history, and keep it drawn. */
export function begin() {
  on(["history"], () => { compared.clear(); draw(); });
  on(["routes"], draw);
  byId("history").addEventListener("click", async (event) => {
    const { revision, what } = event.target.dataset;
    if (!revision) return;
    try {
      if (what === "show") await readChanges(Number(revision));
      else await compare(Number(revision));
      draw();
    } catch (error) {
      event.target.replaceWith(h("p", { class: "bad", role: "alert" }, refusal(error)));
    }
  });
  byId("older").addEventListener("click", () => readOlder().catch(() => {}));
}
