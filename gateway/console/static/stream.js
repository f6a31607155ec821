// The live stream: server-sent events read with fetch, as an EventSource can send no key. It comes
// back by itself, and says how long it was away.

import { ApiError, STREAM, headers, refused } from "./api.js";

const SILENCE_MS = 6000; // the gateway says something each second
const DELAYS_MS = [300, 600, 1000, 2000, 3000];

/** The messages of a text that comes in pieces; what is not whole yet stays for later. */
export class Parser {
  #rest = "";

  *feed(text) {
    this.#rest += text;
    const blocks = this.#rest.split("\n\n");
    this.#rest = blocks.pop();
    for (const block of blocks) {
      let name = "message";
      const data = [];
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data.push(line.slice(6));
      }
      if (data.length) yield { name, data: JSON.parse(data.join("\n")) };
    }
  }
}

/**
 * Follow for as long as the page lives. `take(name, data)` gets each message, `lost(error)` is
 * told of each try that failed, `denied(error)` of a refusal: it resolves once there is another key.
 */
export async function follow({ take, lost, denied }) {
  for (let tries = 0; ; ) {
    try {
      await once((name, data) => {
        tries = 0;
        take(name, data);
      });
      lost(null);
    } catch (error) {
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
        await denied(error);
        tries = 0;
        continue;
      }
      lost(error);
    }
    await pause(DELAYS_MS[Math.min(tries, DELAYS_MS.length - 1)]);
    tries += 1;
  }
}

async function once(take) {
  const stop = new AbortController();
  let heard = Date.now();
  const watching = setInterval(() => {
    if (Date.now() - heard > SILENCE_MS) stop.abort();
  }, 1000);
  try {
    const answer = await fetch(STREAM, {
      headers: headers(),
      signal: stop.signal,
      cache: "no-store",
      credentials: "omit",
    });
    if (!answer.ok) throw await refused(answer);
    const parser = new Parser();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard = Date.now();
      for (const { name, data } of parser.feed(value)) take(name, data);
    }
  } finally {
    clearInterval(watching);
    stop.abort();
  }
}

/** Wait, but not longer than until the network or the user is back. */
function pause(milliseconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    for (const [target, name] of [[window, "online"], [document, "visibilitychange"]]) {
      target.addEventListener(name, () => { clearTimeout(timer); resolve(); }, { once: true });
    }
  });
}
