// How things are said: times, rates, events and errors in plain words.

let ahead = 0; // seconds that the gateway's clock is ahead of this one

/** Learn the gateway's clock from a moment that it just named. */
export function learnClock(at) {
  ahead = at - Date.now() / 1000;
}

/** Seconds since the epoch by the gateway's clock. */
export const now = () => Date.now() / 1000 + ahead;

/** How long ago, in the largest unit that says enough. */
export function ago(at) {
  const seconds = Math.max(0, now() - at);
  if (seconds < 5) return "just now";
  return `${span(seconds)} ago`;
}

/** A length of time. */
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** Date and time as this browser's user writes them. */
export function moment(at) {
  return new Date(at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** Time of day. */
export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString();
}

/** A rate with as many digits as it deserves. */
export function rate(value) {
  if (value === 0) return "0";
  if (value < 9.95) return value.toFixed(1);
  return Math.round(value).toLocaleString("en");
}

/** A share. */
export function percent(share, digits = 0) {
  const value = share * 100;
  return `${value.toFixed(value !== 0 && value < 1 && digits === 0 ? 1 : digits)} %`;
}

/** One and many. */
export const many = (count, one, more = `${one}s`) => `${count} ${count === 1 ? one : more}`;

const KINDS = {
  table_applied: "table applied",
  table_edited: "table edited",
  route_disabled: "disabled",
  route_enabled: "enabled",
  route_pinned: "rolled back",
  route_resumed: "resumed",
  canary_promoted: "canary promoted",
  canary_aborted: "canary aborted",
  adapter_registered: "adapter registered",
  adapter_approved: "adapter approved",
  adapter_revoked: "adapter revoked",
  key_created: "key made",
  key_revoked: "key revoked",
};

/** What an event did. */
export const kind = (name) => KINDS[name] ?? name.replaceAll("_", " ");

/** What an event did it to, as far as the event itself says. */
export function subject(change) {
  if (change.workflow) return change.workflow;
  if (change.ref) return `${change.ref.name}@${change.ref.version}`;
  if (change.key) return change.key.name;
  return change.name ?? "";
}

/** Who. A key's holder is called by the key's name. */
export const actor = (name) => (name.startsWith("key:") ? `key ${name.slice(4)}` : name);

/** A decision in short. */
export function decision(one) {
  if (!one) return "(none)";
  const split = one.split ? `, ${one.split.share} % to ${one.split.target}` : "";
  return `${one.target} (${one.reason})${split}`;
}

/** Why an order was refused, for a person. */
export function refusal(error) {
  const said = error.said ?? {};
  if (error.code === "revision_conflict") {
    return (
      `Somebody was faster: revision ${said.actual} was made by ${actor(said.actor ?? "somebody")}, ` +
      `and you decided on revision ${said.expected}. Look at what is in force now, then confirm again.`
    );
  }
  if (error.code === "role_too_low") return `Not allowed: ${error.message}.`;
  if (error.status === 401) return `The gateway does not accept the key: ${error.message}.`;
  if (error.code === "unreachable") {
    return "The gateway does not answer. It is not known whether the order took effect: look at the history first.";
  }
  return `Refused: ${error.message}.`;
}
