// Talks to the service: what it says (server-sent events) and what it is asked. The token stays in this tab.
const KEY = "derain-token";

export const token = () => sessionStorage.getItem(KEY) ?? "";
export const forget = () => sessionStorage.removeItem(KEY);

/** Ask the service; throws an Error with its own words where it refuses. */
export async function ask(method, path, body) {
  const headers = {};
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Error("the service does not answer");
  }
  const content = answer.headers.get("content-type")?.startsWith("application/json") ? await answer.json() : {};
  if (!answer.ok) {
    const error = new Error(content.error ?? `${answer.status} ${answer.statusText}`);
    error.status = answer.status;
    throw error;
  }
  return content;
}

/** Check a token, and keep it. Also sets the cookie with which pictures and events may be read. */
export async function unlock(given) {
  sessionStorage.setItem(KEY, given);
  try {
    await ask("POST", "api/login");
  } catch (error) {
    forget();
    throw error;
  }
}

const SILENCE = 2500; // milliseconds without a word after which the service counts as gone

/** Calls `heard(snapshot)` for each snapshot and `gone(needsToken)` when the service is silent. */
export function listen(heard, gone) {
  let source = null;
  let timer = 0;
  let retry = 0;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => lost(), SILENCE);
  };
  const lost = async () => {
    source?.close();
    source = null;
    clearTimeout(timer);
    clearTimeout(retry);
    let locked = false;
    try {
      await ask("GET", "api/streams");
    } catch (error) {
      locked = error.status === 401;
    }
    gone(locked);
    retry = setTimeout(open, 1000);
  };
  const open = () => {
    source?.close();
    clearTimeout(retry);
    source = new EventSource("api/events");
    source.onmessage = (event) => {
      wait();
      heard(JSON.parse(event.data));
    };
    source.onerror = () => lost();
    wait();
  };
  open();
  return open;
}
