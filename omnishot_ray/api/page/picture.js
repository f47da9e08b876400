// One picture in, its renditions out: what the visitor chooses, asks for and gets.
import { Problem, ask, askJson, service } from "./access.js";
import { changed, compare } from "./compare.js";
import { byId, make, put, show } from "./dom.js";
import { bytes, change, count, milliseconds } from "./units.js";

const FIRST_CARDS = 12;
const GROUP_TITLES = { social: "Social", marketplace: "Marketplace", web: "Web" };

/** Sets the section up. `onKeyWanted(problem)` is called where the service asks for a key. */
export function setUpPicture(onKeyWanted) {
  const state = { file: null, platforms: [], unchecked: new Set(), asked: null, urls: [] };

  const inGroup = () => state.platforms.filter((one) => one.groups.includes(group()));
  const group = () => byId("groups").querySelector("input:checked")?.value ?? "social";
  const wanted = () => inGroup().filter((one) => !state.unchecked.has(one.name));

  async function load() {
    try {
      const catalogue = await askJson("api/platforms");
      state.platforms = catalogue.platforms ?? [];
      showGroups(catalogue.groups ?? []);
      showPlaces();
      run(); // a picture that was chosen before there was a key
    } catch (error) {
      fail(error);
    }
  }

  function showGroups(groups) {
    const segments = groups.map((name, at) => {
      const number = state.platforms.filter((one) => one.groups.includes(name)).length;
      return make(
        "label",
        { class: "segment" },
        make("input", {
          type: "radio",
          name: "group",
          value: name,
          checked: at === 0,
          onchange: () => {
            showPlaces();
            run();
          },
        }),
        make("span", {}, GROUP_TITLES[name] ?? name, make("small", {}, ` ${number}`)),
      );
    });
    byId("groups").replaceChildren(...segments);
  }

  function showPlaces() {
    const boxes = inGroup().map((one) =>
      make(
        "label",
        {},
        make("input", {
          type: "checkbox",
          value: one.name,
          checked: !state.unchecked.has(one.name),
          onchange: (event) => {
            if (event.target.checked) state.unchecked.delete(one.name);
            else state.unchecked.add(one.name);
            showCount();
            run();
          },
        }),
        make("span", {}, one.title, make("small", {}, ` ${one.width} × ${one.height}`)),
      ),
    );
    byId("places").replaceChildren(...boxes);
    showCount();
  }

  function showCount() {
    byId("places-count").textContent = `${wanted().length} of ${inGroup().length}`;
  }

  function checkAll(checked) {
    for (const one of inGroup()) {
      if (checked) state.unchecked.delete(one.name);
      else state.unchecked.add(one.name);
    }
    showPlaces();
    run();
  }

  /** The address that asks for what is chosen, null when no place is. */
  function address() {
    const places = wanted();
    if (!places.length) return null;
    const query = new URLSearchParams();
    if (places.length === inGroup().length) query.set("group", group());
    else query.set("platforms", places.map((one) => one.name).join(","));
    for (const name of ["format", "quality"]) {
      if (byId(name).value) query.set(name, byId(name).value);
    }
    return `api/variants?${query}`;
  }

  function take(file) {
    if (!file) return;
    state.file = file;
    byId("drop-name").textContent = file.name || "Pasted picture";
    byId("drop-hint").textContent = `${bytes(file.size)} · drop, paste or choose another`;
    run();
  }

  async function run() {
    if (!state.file) return;
    state.asked?.abort();
    const path = address();
    if (!path) return say("No place is chosen", "Choose at least one place under “Places”.");
    if (state.file.size > service.max_body_bytes) {
      const most = bytes(service.max_body_bytes);
      return say("Too large", `This file has ${bytes(state.file.size)}; at most ${most} are taken.`);
    }
    const asked = new AbortController();
    state.asked = asked;
    const file = state.file;
    busy(true);
    try {
      const began = performance.now();
      const response = await send(path, file, "application/json", asked.signal);
      const answer = await response.json();
      const tookMs = performance.now() - began;
      if (asked !== state.asked) return;
      busy(false);
      showAnswer(file, path, answer, tookMs, response.headers.get("X-Cache"));
    } catch (error) {
      if (asked !== state.asked || error.name === "AbortError") return;
      busy(false);
      fail(error);
    }
  }

  /** The bytes say what they are, not the name: no type of our own is sent. */
  const send = (path, file, accept, signal) =>
    ask(path, {
      method: "POST",
      body: file,
      headers: { Accept: accept, "Content-Type": "application/octet-stream" },
      signal,
    });

  function busy(on) {
    show(byId("progress"), on);
    byId("results").setAttribute("aria-busy", String(on));
    if (on) show(byId("problem"), false);
  }

  function say(title, detail, fields = [], instance = "") {
    busy(false);
    show(byId("results"), false);
    show(byId("summary"), false);
    put(
      byId("problem"),
      make("b", {}, title),
      make("span", {}, ` ${detail}`),
      fields.length
        ? make("ul", {}, ...fields.map((one) => make("li", {}, `${one.name}: ${one.detail}`)))
        : null,
      instance ? make("small", {}, `request ${instance}`) : null,
    );
    show(byId("problem"));
  }

  function fail(error) {
    if (!(error instanceof Problem)) throw error;
    if (error.wantsKey) {
      busy(false);
      onKeyWanted(error);
      return;
    }
    const wait = error.waitS ? ` Try again in ${error.waitS} s.` : "";
    // A fault of each place says the same again and again where the picture itself is the trouble.
    const fields = error.fields.filter((one) => !error.message.includes(one.detail)).slice(0, 5);
    say(error.title, error.message + wait, fields, error.instance);
  }

  function showAnswer(file, path, answer, tookMs, cache) {
    for (const url of state.urls.splice(0)) URL.revokeObjectURL(url);
    const source = answer.source ?? {};
    const made = answer.variants.filter((one) => one.status === "ok");
    const cards = answer.variants.map((one) => card(file, source, one));
    byId("cards").replaceChildren(...cards);
    cards.slice(FIRST_CARDS).forEach((one) => show(one, false));
    const rest = cards.length - FIRST_CARDS;
    byId("more").textContent = `Show ${rest} more`;
    show(byId("more"), rest > 0);
    byId("summary").textContent = summarise(source, made, answer.timings_ms ?? {}, tookMs, cache);
    byId("zip").onclick = () => zip(path, file);
    show(byId("summary"));
    show(byId("results"));
    cards.find((one) => one.dataset.status === "ok")?.querySelector("button").click();
  }

  function card(file, source, variant) {
    const place = state.platforms.find((one) => one.name === variant.name);
    const title = place?.title ?? variant.name;
    if (variant.status !== "ok") {
      const detail = variant.error?.detail ?? "It could not be made.";
      return make(
        "li",
        { class: "card", "data-status": "error" },
        make("h3", {}, title),
        make("p", { class: "problem" }, detail),
      );
    }
    const url = URL.createObjectURL(blobOf(variant));
    state.urls.push(url);
    const thumb = make(
      "button",
      { type: "button", class: "thumb", "aria-pressed": "false", "aria-label": `Compare ${title}` },
      make("img", { src: url, alt: "", loading: "lazy", decoding: "async" }),
    );
    thumb.addEventListener("click", (event) => {
      for (const other of byId("cards").querySelectorAll(".thumb")) {
        other.setAttribute("aria-pressed", String(other === thumb));
      }
      compare(byId("compare"), { file, source, variant, url, place, title });
      if (event.isTrusted) byId("compare").scrollIntoView({ block: "nearest" });
    });
    return make(
      "li",
      { class: "card", "data-status": "ok", "data-name": variant.name },
      thumb,
      make("h3", {}, title),
      make(
        "p",
        { class: "faint" },
        `${variant.width} × ${variant.height} ${variant.format.toUpperCase()}`,
      ),
      make(
        "p",
        { class: "sizes" },
        make("span", { class: "size" }, bytes(variant.bytes)),
        changed(source.bytes, variant.bytes),
        make(
          "a",
          { class: "download", href: url, download: fileName(file, variant), "aria-label": `Download ${title}` },
          "Download",
        ),
      ),
    );
  }

  async function zip(path, file) {
    byId("zip").disabled = true;
    try {
      const response = await send(path, file, "application/zip");
      const url = URL.createObjectURL(await response.blob());
      make("a", { href: url, download: `${stem(file)}.zip` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      fail(error);
    } finally {
      byId("zip").disabled = false;
    }
  }

  listen({ take, run, checkAll });
  return { load };
}

function listen({ take, run, checkAll }) {
  const drop = byId("drop");
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  byId("file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = ""; // so that choosing the same file once more is a change
  });
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    drop.classList.remove("over");
    if (!carriesFiles(event)) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (!file) return;
    event.preventDefault();
    take(file);
  });
  for (const name of ["format", "quality"]) byId(name).addEventListener("change", run);
  byId("places-every").addEventListener("click", () => checkAll(true));
  byId("places-none").addEventListener("click", () => checkAll(false));
  byId("order").addEventListener("submit", (event) => event.preventDefault());
  byId("more").addEventListener("click", (event) => {
    const later = [...byId("cards").children].filter((one) => one.hidden);
    for (const one of later) show(one);
    later[0]?.querySelector("button")?.focus();
    show(event.currentTarget, false);
  });
}

function summarise(source, made, timings, tookMs, cache) {
  const sum = made.reduce((total, one) => total + one.bytes, 0);
  const original = `${source.width} × ${source.height} ${String(source.format).toUpperCase()}`;
  const many = `${count(made.length)} ${made.length === 1 ? "rendition" : "renditions"}`;
  const parts = ["decode", "transform", "encode"]
    .filter((name) => timings[name] > 0)
    .map((name) => `${name} ${milliseconds(timings[name])}`);
  const again = String(cache).startsWith("hit") ? "kept from before" : parts.join(", ");
  return (
    `${many}, ${bytes(sum)} together, from one ${original} of ${bytes(source.bytes)}: ` +
    `${change(source.bytes * made.length, sum)} against sending the original to each place. ` +
    `Answered in ${milliseconds(tookMs)}${again ? ` (${again})` : ""}.`
  );
}

function blobOf({ data, format }) {
  const text = atob(data);
  const octets = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at += 1) octets[at] = text.charCodeAt(at);
  return new Blob([octets], { type: `image/${format}` });
}

const stem = (file) => (file.name || "picture").replace(/\.[^.]*$/, "");

const fileName = (file, { name, format }) =>
  `${stem(file)}-${name}.${format === "jpeg" ? "jpg" : format}`;
