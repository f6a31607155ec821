// Orders: one dialog to say why and confirm, then who obeys.

import { order, past } from "./api.js";
import { h, refill, shown } from "./dom.js";
import { model, on, readRoutes } from "./model.js";
import { actor, ago, decision, kind, refusal } from "./words.js";

const WAIT_S = 5; // for the replicas to say that they obey
const NAME = "gateway-console-name";

const WORDS = {
  disable: {
    title: "Disable",
    says: (route) => `New requests go to ${route.target === route.fallback ? "base" : route.fallback}, until somebody enables it again. No edit of routes.yaml undoes it.`,
    hint: "What is wrong?",
    running: true,
  },
  enable: { title: "Enable", says: () => "The disable is lifted: requests go where the route says.", hint: "What was mended?" },
  resume: { title: "Resume", says: () => "The hand is lifted: routes.yaml rules again.", hint: "What was mended?" },
  promote: {
    title: "Promote",
    says: ({ canary }) => canary?.next_share ? `Its canary ${canary.adapter} answers ${canary.next_share} % of the requests.` : "Its canary answers every request.",
    hint: "Why is it ready?",
  },
  abort: {
    title: "Abort",
    says: ({ canary }) => `Its canary ${canary?.adapter ?? ""} answers nothing any more, until it is resumed or routes.yaml names another.`,
    hint: "What is wrong?",
    running: true,
  },
  rollback: {
    title: "Roll back",
    says: () => "The workflow is pinned to its route at an earlier revision, whatever routes.yaml says.",
    hint: "What is wrong?",
    running: true,
  },
};

let current = null; // the open one: { dialog, workflow, decided, seen, fault, giving }

/** Ask for the reason and a confirmation of `verb` on `workflow`, and give the order. */
export function ask(workflow, verb) {
  const words = WORDS[verb];
  const route = model.routes[workflow];
  const reason = h("textarea", { id: "reason", required: true, maxlength: 2000, rows: 2, placeholder: words.hint, "aria-describedby": "kept", autofocus: true });
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const confirm = h("button", { type: "submit", class: words.running ? "danger solid" : "solid" }, `${words.title} ${workflow}`);
  const choice = verb === "rollback" ? h("fieldset", { class: "choice" }, h("legend", {}, "Back to"), h("p", { class: "quiet" }, "Reading …")) : null;
  const alone = h("input", { type: "checkbox", id: "alone" });
  const form = h("form", { method: "dialog" },
    h("h2", { id: "order-title" }, `${words.title} ${workflow}`),
    h("p", { class: "now" }, "Now ", h("span", { class: "ref" }, route.target), " ", h("span", { class: `chip ${route.reason}` }, route.reason)),
    h("p", {}, words.says(route)),
    choice,
    h("label", { for: "reason" }, "Reason"), reason, h("p", { id: "kept", class: "quiet" }, "Kept in the log, with your name."),
    model.hello?.key ? null : [h("label", { for: "name" }, "Your name"), h("input", { id: "name", maxlength: 128, autocomplete: "off", value: sessionStorage.getItem(NAME) ?? "operator", required: true })],
    words.running ? running() : null,
    ["disable", "abort"].includes(verb) && model.health && !model.health.log.ok
      ? h("label", { class: "switch" }, alone, h("span", {}, "The log is away: obey on this replica alone, and append it later")) : null,
    fault,
    h("div", { class: "dialog-foot" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), confirm));
  const dialog = h("dialog", { class: "order", "aria-labelledby": "order-title" }, form);
  current = { dialog, workflow, decided: model.revision, seen: decision(route), fault };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    give(verb, form, confirm, fault);
  });
  open(dialog);
  if (choice) offer(workflow, choice, confirm);
}

function open(dialog) {
  const before = document.activeElement;
  const row = before?.closest(".row");
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (current?.dialog === dialog) current = null;
    (before?.isConnected ? before : row?.querySelector(".actions button") ?? row?.querySelector(".name"))?.focus();
  });
  dialog.showModal();
}

function running() {
  const option = (value, label, checked) =>
    h("label", { class: "option" }, h("input", { type: "radio", name: "in_flight", value, checked }), h("span", {}, label));
  return h("fieldset", {}, h("legend", {}, "Running requests"),
    option("finish", "finish where they are", true),
    option("restart", "start again on the new target; a stream that has begun ends with an error"));
}

/** The revisions that a rollback may go back to; the newest is chosen. */
async function offer(workflow, choice, confirm) {
  confirm.disabled = true;
  try {
    const { steps } = await past(workflow);
    const open = steps.filter((step) => step.no_way_back === null);
    const closed = steps.filter((step) => step.no_way_back !== null && step.after);
    const item = (step, at) =>
      h("label", { class: `option ${step.no_way_back ? "closed" : ""}` },
        h("input", { type: "radio", name: "to", value: step.revision, checked: at === 0 && !step.no_way_back, disabled: step.no_way_back !== null }),
        h("span", {}, h("span", { class: "revision" }, `#${step.revision}`), " ", h("span", { class: "ref" }, step.route ?? "(none)"),
          h("span", { class: "quiet" }, ` ${kind(step.kind)} by ${actor(step.actor)}, ${ago(step.at)}${step.no_way_back ? `; ${step.no_way_back}` : ""}`)));
    choice.replaceChildren(h("legend", {}, "Back to"), ...open.map(item), ...closed.map(item));
    if (open.length) confirm.disabled = false;
    else choice.append(h("p", { class: "bad" }, "There is no other route to go back to."));
  } catch (error) {
    choice.append(h("p", { class: "fault", role: "alert" }, refusal(error)));
  }
}

async function give(verb, form, confirm, fault) {
  const mine = current;
  const { workflow, dialog } = mine;
  const field = (name) => form.querySelector(`[name="${name}"]:checked`)?.value;
  const reason = form.querySelector("#reason").value.trim();
  const name = form.querySelector("#name")?.value.trim();
  if (!reason) {
    tell(fault, "Say why: the reason is kept in the log.");
    form.querySelector("#reason").focus();
    return;
  }
  if (name) sessionStorage.setItem(NAME, name);
  const body = { reason, wait_s: WAIT_S, expected_revision: mine.decided };
  if (name) body.actor = name;
  if (field("in_flight")) body.in_flight = field("in_flight");
  if (field("to")) body.to = Number(field("to"));
  if (form.querySelector("#alone")?.checked) Object.assign(body, { local: true, expected_revision: null });
  mine.giving = true;
  const label = confirm.textContent;
  confirm.disabled = true;
  confirm.textContent = "Waiting for the replicas …";
  shown(fault, false);
  try {
    const done = await order(workflow, verb, body);
    await readRoutes().catch(() => {});
    if (dialog.open) outcome(dialog, done, workflow);
  } catch (error) {
    mine.giving = false;
    tell(fault, refusal(error));
    if (error.code === "revision_conflict") {
      await readRoutes().catch(() => {});
      mine.decided = model.revision;
      mine.seen = decision(model.routes[workflow]);
      redraw(form, workflow);
    }
    confirm.disabled = false;
    confirm.textContent = label;
    confirm.focus();
  }
}

function tell(fault, text) {
  fault.textContent = text;
  shown(fault, true);
}

function redraw(form, workflow) {
  const route = model.routes[workflow];
  if (!route) return;
  refill(form.querySelector(".now"), "Now ", h("span", { class: "ref" }, route.target), " ", h("span", { class: `chip ${route.reason}` }, route.reason));
}

/** What became of it, and which replicas obey. */
function outcome(dialog, done, workflow) {
  const close = h("button", { type: "button", class: "solid", onclick: () => dialog.close() }, "Close");
  const changes = done.changes.length
    ? done.changes.map((change) => h("p", {}, h("span", { class: "ref" }, change.workflow), ": ", h("del", {}, decision(change.before)), h("span", { "aria-hidden": "true" }, " → "), h("ins", {}, decision(change.after)), ` at revision ${done.revision}`))
    : [h("p", {}, `The order is in the log at revision ${done.revision}; ${workflow} goes where it went.`)];
  const silent = done.owed ? [] : done.replicas.filter((one) => one.answer === "silent");
  dialog.replaceChildren(h("div", { class: "outcome", role: "status" },
    h("h2", { id: "order-title" }, silent.length ? "Done, but not everybody has answered" : "Done"),
    ...changes,
    done.owed ? h("p", { class: "fault" }, "The log is away: this replica alone obeys; the log gets the order when it is back.") : null,
    done.kept ? null : h("p", { class: "fault" }, "The order could not be kept on this disk: a restart before then forgets it."),
    done.replicas.length ? h("table", { class: "acks" }, h("caption", { class: "unseen" }, "Which replicas obey"),
      h("thead", {}, h("tr", {}, ...["Replica", "Answer", ""].map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, ...done.replicas.map((one) => h("tr", {},
        h("th", { scope: "row" }, one.replica), h("td", {}, h("span", { class: `chip ${one.answer}` }, one.answer)),
        h("td", { class: "quiet" }, one.note || `serves revision ${one.revision}`, ["silent", "lost"].includes(one.answer) ? `, last heard of ${one.seen_s.toFixed(1)} s ago` : "")))) ) : null,
    h("div", { class: "dialog-foot" }, close)));
  close.focus();
}

/** While a dialog is open: revisions that leave its workflow alone are no conflict; others are told. */
export function begin() {
  on(["routes"], () => {
    if (!current?.dialog.open || current.giving) return; // one's own order is no news
    const route = model.routes[current.workflow];
    if (!route) return;
    if (decision(route) === current.seen) {
      current.decided = Math.max(current.decided, model.revision);
    } else if (current.fault.isConnected && current.fault.hidden && current.dialog.querySelector("form")) {
      const by = model.revisions[0];
      tell(current.fault, `${current.workflow} has just changed: ${current.seen} became ${decision(route)}${by ? `, ${kind(by.kind)} by ${actor(by.actor)} at revision ${by.revision}` : ""}. If you confirm, you decide on what is now in force.`);
      current.decided = model.revision;
      current.seen = decision(route);
      redraw(current.dialog, current.workflow);
    }
  });
}
