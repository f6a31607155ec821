// The admin API. The key lives in this tab's session storage, and travels in a header alone.

const KEY = "gateway-console-key";
const ROOT = "/admin/v1";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

/** A refusal. `code` is the API's own; `said` its error object. */
export class ApiError extends Error {
  constructor(message, status, code, said) {
    super(message);
    this.status = status;
    this.code = code;
    this.said = said;
  }
}

/** The headers of every request. */
export function headers() {
  const text = key.get();
  return text ? { authorization: `Bearer ${text}` } : {};
}

/** One call. Throws ApiError, with code `unreachable` where nobody answers. */
export async function call(method, path, body) {
  let answer;
  try {
    answer = await fetch(ROOT + path, {
      method,
      headers: { ...headers(), ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
    });
  } catch {
    throw new ApiError("no gateway answers", 0, "unreachable", {});
  }
  if (answer.ok) return answer.json();
  throw await refused(answer);
}

/** The refusal that an answer is. */
export async function refused(answer) {
  const said = await answer.json().then((data) => data.error ?? {}, () => ({}));
  return new ApiError(said.message ?? `the gateway answered ${answer.status}`, answer.status, said.code ?? "", said);
}

export const get = (path) => call("GET", path);

/** Give an order on a workflow. */
export const order = (workflow, verb, body) => call("POST", `/workflows/${encodeURIComponent(workflow)}/${verb}`, body);

export const past = (workflow) => get(`/workflows/${encodeURIComponent(workflow)}/history?limit=50`);

export const STREAM = `${ROOT}/stream`;
