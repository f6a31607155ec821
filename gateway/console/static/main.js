// Puts the page together: the stream into the model, the model into the views, keys to actions.

import * as access from "./access.js";
import { byId, h, write } from "./dom.js";
import * as fleet from "./fleet.js";
import * as history from "./history.js";
import { changed, model, readWhole, take } from "./model.js";
import * as orders from "./orders.js";
import * as rows from "./rows.js";
import { follow } from "./stream.js";
import { actor, clock, decision, kind, many, span } from "./words.js";

const TOAST_MS = 8000;
const RETRY_MS = 1000;

/** Say `text` aloud and show it for a while. */
function say(text, level = "") {
  write(byId("said"), text);
  const toast = h("div", { class: `toast ${level}` }, text);
  byId("toasts").append(toast);
  setTimeout(() => toast.remove(), TOAST_MS);
}

function connection() {
  const pill = byId("connection");
  const state = model.live ? "live" : model.awaySince ? "away" : "waiting";
  pill.className = `pill ${state}`;
  const since = model.awaySince ? span((Date.now() - model.awaySince) / 1000) : "";
  write(pill, { live: "Live", away: `Away for ${since}, trying again`, waiting: "Connecting" }[state]);
  document.body.classList.toggle("stale", state === "away");
}

/** The stream began: read everything, and say what was missed. */
async function greet(hello) {
  const before = model.hello;
  const away = model.awaySince;
  const known = model.revision;
  Object.assign(model, { hello, live: true, awaySince: null });
  write(byId("replica"), `${hello.replica} · ${hello.version}`);
  connection();
  changed("hello");
  while (!(await readWhole().then(() => true, () => false))) {
    if (model.hello !== hello || !model.live) return; // lost again; the next greeting reads
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  if (!before || !away) return;
  const restarted = hello.started !== before.started;
  const missed = Math.max(0, model.revision - known);
  say(
    `Back: the gateway was away for ${span((Date.now() - away) / 1000)}, from ${clock(away / 1000)}` +
      `${restarted ? ", and was restarted" : ""}. ${missed ? `${many(missed, "revision")} meanwhile.` : "No route changed meanwhile."}`,
  );
}

function lost() {
  if (model.live || !model.awaySince) {
    model.awaySince ??= Date.now();
    if (model.live) say("The gateway is away: what is shown is from before. Trying again.", "bad");
    model.live = false;
  }
  connection();
}

follow({
  take(name, data) {
    if (name === "hello") {
      greet(data);
      return;
    }
    take(name, data);
    if (name === "moved") announce(data);
  },
  lost,
  async denied(error) {
    model.live = false;
    model.awaySince = null;
    connection();
    await access.askForKey(error);
  },
});

function announce(moved) {
  const [first] = moved.changes;
  const what = first
    ? `${first.workflow}: ${decision(first.before)} to ${decision(first.after)}${moved.changes.length > 1 ? `, and ${many(moved.changes.length - 1, "more workflow")}` : ""}`
    : kind(moved.kind);
  say(`Revision ${moved.revision}, ${what}, by ${actor(moved.actor)}${moved.reason ? `: ${moved.reason}` : ""}`, moved.actor === "guard" ? "bad" : "");
}

const KEYS = [
  ["/", "filter the routes"],
  ["Esc", "clear the filter, close a dialog"],
  ["j, k", "to the next or previous route"],
  ["Enter", "on a route's name: its guard and history"],
  ["?", "this list"],
];

function help() {
  const dialog = h("dialog", { "aria-labelledby": "help-title" },
    h("h2", { id: "help-title" }, "Keys"),
    h("dl", { class: "keys" }, ...KEYS.flatMap(([name, what]) => [h("dt", {}, h("kbd", {}, name)), h("dd", {}, what)])),
    h("div", { class: "dialog-foot" }, h("button", { type: "button", class: "solid", onclick: () => dialog.close() }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function step(by) {
  const names = [...document.querySelectorAll(".row .name")];
  const at = names.findIndex((name) => name.closest(".row").contains(document.activeElement));
  names[Math.max(0, Math.min(names.length - 1, at < 0 ? 0 : at + by))]?.focus();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input[type=search], input:not([type]), input[type=password], textarea, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = { "/": () => byId("filter").focus(), "?": help, j: () => step(1), k: () => step(-1) }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

access.begin();
fleet.begin();
history.begin();
orders.begin();
rows.begin();
setInterval(connection, 1000);
