// How this page asks the service: addresses, the API key, and errors as the service words them.

/** What the service says of itself in the page: version, keys, max_body_bytes, routes. */
export const service = JSON.parse(
  document.querySelector('meta[name="omnishot:service"]').content,
);

export const serves = (path) => service.routes.includes(path);

const KEY = "omnishot-key";
let remembered = "";

export function key() {
  try {
    return sessionStorage.getItem(KEY) ?? remembered;
  } catch {
    return remembered; // storage is switched off: the key lives as long as the page
  }
}

export function rememberKey(value) {
  remembered = value;
  try {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  } catch {
    // See above.
  }
}

/** A problem document as an error: `status`, `title`, `fields`, `waitS`, `instance`. */
export class Problem extends Error {
  constructor(status, document, waitS = null) {
    super(document.detail || document.title || "The service did not say why.");
    this.status = status;
    this.title = document.title || "This did not work";
    this.fields = Array.isArray(document.errors) ? document.errors : [];
    this.instance = document.instance || "";
    this.waitS = waitS;
  }

  get wantsKey() {
    return this.status === 401 || this.status === 403;
  }
}

/** Asks, and answers the response; throws a `Problem` for whatever is not a success. */
export async function ask(path, { headers = {}, ...options } = {}) {
  const given = key();
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      ...options,
      headers: given ? { ...headers, "X-API-Key": given } : headers,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, {
      title: "No answer",
      detail: "The service cannot be reached. It may be starting again; try once more in a moment.",
    });
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => "");
  throw new Problem(response.status, read(text, response), waitOf(response));
}

export const askJson = async (path, options) => (await ask(path, options)).json();

/** A socket beside the page, with the key where one is known: sockets cannot send headers. */
export function openSocket(path) {
  const address = new URL(path, document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  const protocols = service.keys && key() ? ["omnishot", `omnishot.key.${base64url(key())}`] : [];
  return new WebSocket(address, protocols);
}

function read(text, response) {
  try {
    const document = JSON.parse(text);
    if (document && typeof document === "object") return document;
  } catch {
    // A proxy's own page: the status has to do.
  }
  return { title: `Status ${response.status}`, detail: response.statusText };
}

function waitOf(response) {
  const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  return Number.isFinite(seconds) ? seconds : null;
}

const base64url = (text) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
