// Asking the server. A refusal is an Error whose message is a sentence to be shown.

export async function get(path) {
  return answered(await reached(path, {}));
}

export async function post(path, body) {
  return answered(await reached(path, json(body)));
}

export async function blob(path, body) {
  const response = await reached(path, json(body));
  if (!response.ok) await answered(response);
  return response.blob();
}

export async function bytes(path) {
  const response = await reached(path, {});
  if (!response.ok) await answered(response);
  return response.arrayBuffer();
}

export async function send(path, file) {
  return answered(await reached(path, { method: "POST", body: file }));
}

function json(body) {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

async function reached(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is `unreel serve` still running?");
  }
}

async function answered(response) {
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(found.error || `the server answered ${response.status}`);
  return found;
}

export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

export const many = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;
