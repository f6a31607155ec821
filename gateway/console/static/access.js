// The key prompt, and who one is.

import { key } from "./api.js";
import { byId, h, refill } from "./dom.js";
import { model, on } from "./model.js";

/** Ask for a key; resolves once there is one. `why`: what the gateway said to the last. */
export function askForKey(error) {
  const had = key.get() !== "";
  return new Promise((resolve) => {
    const input = h("input", { id: "key", type: "password", required: true, autocomplete: "off", spellcheck: "false", autofocus: true, "aria-describedby": "key-about" });
    const form = h("form", { method: "dialog" },
      h("h2", { id: "key-title" }, "A key is needed"),
      had ? h("p", { class: "fault", role: "alert" }, `The gateway did not accept the key: ${error.message}.`) : null,
      h("label", { for: "key" }, "Operator key"), input,
      h("p", { id: "key-about", class: "quiet" }, "It stays in this tab until you close it. A viewer's key may look; an operator's may disable, enable and roll back."),
      h("div", { class: "dialog-foot" }, h("button", { type: "submit", class: "solid" }, "Open")));
    const dialog = h("dialog", { "aria-labelledby": "key-title" }, form);
    dialog.addEventListener("close", () => dialog.isConnected && dialog.showModal()); // nothing lies behind it
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = input.value.trim();
      if (!text) return;
      key.set(text);
      dialog.remove();
      resolve();
    });
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}

/** Say who one is, and offer to forget the key. */
export function begin() {
  on(["hello"], () => {
    const { hello } = model;
    refill(byId("who"), ...(hello?.key
      ? [h("span", { class: "quiet" }, `${hello.key}, ${hello.role}`), h("button", { type: "button", class: "plain", id: "forget" }, "Forget key")]
      : []));
  });
  byId("who").addEventListener("click", (event) => {
    if (event.target.id !== "forget") return;
    key.forget();
    location.reload();
  });
}
