// Requests to the server. A refusal is thrown as an Error with a message for a person.

export const PAGE_VERSION = 2; // of what is said here; the server (requests.py) has the same, or says that this page is old

export async function get(path) {
  return readAnswer(await fetchOrFail(path, {}));
}

export async function post(path, body) {
  return readAnswer(await fetchOrFail(path, jsonOptions(body)));
}

export async function postForBlob(path, body) {
  const response = await fetchOrFail(path, jsonOptions(body));
  if (!response.ok) await readAnswer(response);
  return response.blob();
}

export async function getBytes(path) {
  const response = await fetchOrFail(path, {});
  if (!response.ok) await readAnswer(response);
  return response.arrayBuffer();
}

export async function sendFile(path, file) {
  return readAnswer(await fetchOrFail(path, { method: "POST", body: file }));
}

function jsonOptions(body) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

async function fetchOrFail(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is `unreel serve` still running?");
  }
}

async function readAnswer(response) {
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `the server answered ${response.status}`);
  return answer;
}

// Milliseconds until the next question about the state of the index; 0: not before the page is looked at again. Two
// hundred pages that are only open are to cost the server nothing.
export const POLL_MS = 4000, IDLE_POLL_MS = 60_000, UNUSED_AFTER_MS = 60_000;
export function choosePollDelay({ isHidden, isIndexing, unused_ms }) {
  if (isHidden) return 0;
  return isIndexing || unused_ms < UNUSED_AFTER_MS ? POLL_MS : IDLE_POLL_MS;
}

export function formatTime(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

export const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
