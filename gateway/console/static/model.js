// What the page knows: read whole when the stream begins, kept up by its messages. Views listen.

import { get } from "./api.js";
import { learnClock } from "./words.js";

export const WINDOW_S = 120; // of the charts
const SMOOTH_S = 5; // over which each of their points is the mean

export const model = {
  hello: null, // replica, version, role and key
  live: false,
  awaySince: null, // by this browser's clock, in ms
  routes: {}, // by workflow
  revision: 0,
  guards: new Map(), // by workflow: its guards, one for each arm
  shadows: new Map(), // by workflow
  watched: new Set(), // workflows with a guard, also before its first answer
  guardLimits: { acts: 0, most: 0 },
  health: null,
  remarks: { gates: [], adapters: [] },
  ticks: [], // messages of rates, oldest first
  marks: [], // { at, workflow, revision, kind }: where charts get a line
  revisions: [], // newest first
  changes: new Map(), // by revision: what it changed
};

const listeners = new Map();

/** Call `view` whenever one of `topics` changed. */
export function on(topics, view) {
  for (const topic of topics) listeners.set(topic, [...(listeners.get(topic) ?? []), view]);
}

/** Say that `topic` changed. */
export function changed(...topics) {
  const views = new Set(topics.flatMap((topic) => listeners.get(topic) ?? []));
  for (const view of views) view();
}

/** Whether the key may give orders. */
export const mayOrder = () => model.hello !== null && model.hello.role !== "viewer";

/** Read everything. Throws ApiError. */
export async function readWhole() {
  const [routes, revisions] = await Promise.all([get("/routes"), get("/revisions?limit=20"), readGuards(), readRemarks()]);
  takeRoutes(routes);
  model.revisions = revisions.revisions;
  changed("routes", "history");
  await Promise.all(model.revisions.slice(0, 8).map((one) => readChanges(one.revision)));
}

/** Read what the guards and shadows know. */
export async function readGuards() {
  const guard = await get("/guard");
  model.guards = byWorkflow(guard.guards);
  model.shadows = new Map((guard.shadows ?? []).map((one) => [one.workflow, one]));
  model.watched = new Set([...guard.unseen, ...model.guards.keys()]);
  model.guardLimits = { acts: guard.acts_in_last_hour, most: guard.trips_per_hour };
  changed("guard");
}

async function readRemarks() {
  const status = await get("/status");
  model.remarks = { gates: status.gates_overridden, adapters: status.adapters_not_servable };
  changed("remarks");
}

/** Read what a revision changed, once. */
export async function readChanges(revision) {
  if (model.changes.has(revision)) return;
  const found = await get(`/revisions/${revision}`);
  model.changes.set(revision, found.changes);
  changed("history");
}

/** Read a page of older revisions. */
export async function readOlder() {
  const oldest = model.revisions.at(-1)?.revision ?? 0;
  const page = await get(`/revisions?before=${oldest}&limit=20`);
  model.revisions.push(...page.revisions);
  changed("history");
}

let reading = null; // one reading of the routes at a time,
let again = false; // and one more where something changed meanwhile

/** Read the routes again. */
export async function readRoutes() {
  if (reading) {
    again = true;
    return reading;
  }
  reading = (async () => {
    do {
      again = false;
      takeRoutes(await get("/routes"));
      changed("routes");
    } while (again);
  })();
  try {
    await reading;
  } finally {
    reading = null;
  }
}

/** Take in a message of the stream. Answers what there is to say aloud, if anything. */
export function take(name, data) {
  if (name === "rates") {
    learnClock(data.at);
    model.ticks.push(smoothed(data));
    while (model.ticks.length && model.ticks[0].at < data.at - WINDOW_S - 2) model.ticks.shift();
    model.marks = model.marks.filter((mark) => mark.at > data.at - WINDOW_S);
    changed("rates");
  } else if (name === "health") {
    model.health = data;
    changed("health");
  } else if (name === "guard") {
    for (const workflow of data.gone) model.guards.delete(workflow);
    for (const [workflow, guards] of byWorkflow(data.guards)) model.guards.set(workflow, guards);
    changed("guard");
  } else if (name === "table") {
    readRoutes().catch(() => {}); // as below
  } else if (name === "moved") {
    takeMoved(data);
  }
}

/** A tick as the mean of the last few seconds: one request a second is a line, and no comb. */
function smoothed(tick) {
  const near = [...model.ticks.filter((one) => one.at > tick.at - SMOOTH_S).map((one) => one.raw), tick];
  const seconds = near.reduce((sum, one) => sum + one.over_s, 0);
  const mean = (of) => near.reduce((sum, one) => sum + of(one) * one.over_s, 0) / seconds;
  const workflows = {};
  for (const { workflows: seen } of near) {
    for (const [workflow, targets] of Object.entries(seen)) {
      workflows[workflow] ??= {};
      for (const target of Object.keys(targets)) {
        workflows[workflow][target] ??= {
          per_s: mean((one) => one.workflows[workflow]?.[target]?.per_s ?? 0),
          failed_per_s: mean((one) => one.workflows[workflow]?.[target]?.failed_per_s ?? 0),
        };
      }
    }
  }
  return { at: tick.at, raw: tick, workflows, tokens_per_s: mean((one) => one.tokens_per_s) };
}

function takeMoved(moved) {
  model.changes.set(moved.revision, moved.changes);
  if (!model.revisions.some((one) => one.revision === moved.revision)) {
    const workflow = moved.changes.length === 1 ? moved.changes[0].workflow : undefined;
    model.revisions.unshift({ ...moved, change: { workflow } });
  }
  for (const change of moved.changes) {
    model.marks.push({ at: moved.at, workflow: change.workflow, revision: moved.revision });
  }
  changed("history");
  const concerned = [readRoutes(), moved.kind.startsWith("adapter") ? readRemarks() : readGuards()];
  Promise.all(concerned).catch(() => {}); // a gateway that is away begins anew when it is back
}

function takeRoutes(routes) {
  model.routes = routes.workflows;
  model.revision = routes.revision;
}

function byWorkflow(guards) {
  const found = new Map();
  for (const guard of guards) found.set(guard.workflow, [...(found.get(guard.workflow) ?? []), guard]);
  return found;
}
