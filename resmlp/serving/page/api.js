// The public API, as any other client calls it.

let token = "";

export function setToken(value) { token = value; }

export class Refused extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

export async function call(path, options = {}) {
  const headers = {...options.headers, ...(token ? {Authorization: `Bearer ${token}`} : {})};
  let response;
  try {
    response = await fetch(path, {...options, headers});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer.");
  }
  if (response.ok) return response.json();
  let line = `The server answers with ${response.status}.`;
  try {
    line = (await response.json()).error;
  } catch { /* not one of ours */ }
  throw new Refused(response.status, line);
}

export function sendImage(operation, file, fields, signal) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("image", file, file.name || "the image");
  return call(`/v1/${operation}`, {method: "POST", body: form, signal});
}

export function sendText(texts, model) {
  const body = JSON.stringify({texts, model});
  return call("/v1/translate", {method: "POST", headers: {"Content-Type": "application/json"}, body});
}

export function look(options) {
  return call(`/v1/look?${new URLSearchParams(options)}`);
}
