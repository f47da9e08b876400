// What the service does at the moment: figures, two charts, and who does what.
import { Chart } from "./chart.js";
import { byId, make, put, show, table } from "./dom.js";
import { Past } from "./past.js";
import { age, bytes, count, milliseconds, number, percent, rate } from "./units.js";

const LANES = { loop: "event loop", inline: "thread", pool: "pool" };
const TIERS = {
  "hit-memory": "memory",
  "hit-shared": "shared",
  "hit-storage": "storage",
  joined: "joined in flight",
  miss: "made anew",
};
const MOST_ROWS = 8;

const past = new Past();
let charts = null;

/** Draws a snapshot; keys that are missing are shown as a dash or not at all. */
export function showSnapshot(snapshot) {
  show(byId("live"));
  const { requests = {}, latency_ms: latency = {}, cache = {}, queue = {} } = snapshot;
  charts ??= drawCharts();
  past.note(snapshot, (history) => charts.forEach((chart) => chart.show(history)));
  showTiles(snapshot, { requests, latency, cache, queue });
  showAlerts(snapshot.alerts ?? []);
  put(byId("lanes"), ...bars("Lanes and queue", snapshot.lanes, LANES, queueLine(queue)));
  put(byId("tiers"), ...bars("Cache", cache.tiers, TIERS, tierLine(cache)));
  put(byId("formats"), ...bars("Formats", snapshot.formats, {}, bytesLine(snapshot.bytes)));
  put(byId("routes"), ...routes(snapshot.routes ?? []));
  put(byId("processes"), ...processes(snapshot));
  put(byId("errors"), ...errors(snapshot.recent_errors ?? []));
}

function drawCharts() {
  return [
    new Chart(byId("chart-rate"), {
      title: "Throughput",
      lines: [
        { name: "requests", title: "requests/s", area: true },
        { name: "renditions", title: "renditions/s" },
      ],
      word: rate,
    }),
    new Chart(byId("chart-latency"), {
      title: "Latency",
      lines: ["p50", "p95", "p99"].map((name) => ({ name, title: name })),
      word: milliseconds,
    }),
  ];
}

function showTiles(snapshot, { requests, latency, cache, queue }) {
  const saved = snapshot.bytes?.saved;
  put(
    byId("tiles"),
    tile("requests", "Requests", rate(requests.per_s), "a second"),
    tile("renditions", "Renditions", rate(snapshot.renditions_per_s), "a second"),
    tile("p95", "Latency p95", milliseconds(latency.p95), `p50 ${milliseconds(latency.p50)}`),
    tile("errors", "Errors", percent(requests.error_rate), `${count(requests.errors)} in all`),
    tile("hits", "Cache hits", percent(cache.hit_rate), `${bytes(cache.bytes)} held`),
    tile("saved", "Saved", bytes(saved), `of ${bytes(snapshot.bytes?.in)} in`),
    tile("queue", "Waiting", count(queue.waiting), `${count(queue.active)} being made`),
    tile("replicas", "Replicas", count(snapshot.replicas), `${cores(snapshot.cpu)} busy`),
  );
}

export function tile(name, title, value, note) {
  return make(
    "div",
    { class: "tile" },
    make("dt", {}, title),
    make("dd", {}, make("b", { id: `tile-${name}` }, value), make("span", {}, note)),
  );
}

function showAlerts(alerts) {
  put(
    byId("alerts"),
    ...alerts
      .filter((alert) => !alert.resolved_at)
      .slice(0, MOST_ROWS)
      .map((alert) =>
        make(
          "p",
          { class: "alert", "data-severity": alert.severity ?? "warning" },
          make("b", {}, alert.name ?? "alert"),
          ` ${alert.message ?? wordAlert(alert)} `,
          make("span", { class: "faint" }, `since ${age(alert.since ?? alert.active_at)}`),
        ),
      ),
  );
}

const wordAlert = ({ metric, value, threshold }) =>
  `${metric ?? "value"} is ${rate(number(value))}, the threshold ${rate(number(threshold))}`;

/** Parts of a whole, each with its name, share and number. */
export function bars(title, parts, names, line, empty = "Nothing in this minute.") {
  const known = Object.entries(parts ?? {}).filter(([, value]) => number(value) > 0);
  const whole = known.reduce((sum, [, value]) => sum + value, 0);
  const order = Object.keys(names);
  const place = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
  known.sort(([a, x], [b, y]) => place(a) - place(b) || y - x);
  return [
    make("h3", {}, title),
    known.length
      ? make(
          "ul",
          { class: "bars" },
          ...known.slice(0, MOST_ROWS).map(([name, value], at) =>
            make(
              "li",
              { class: `share share-${at % 5}`, vars: { "--share": String(value / whole) } },
              make("span", {}, names[name] ?? name),
              make("span", { class: "figure" }, `${count(value)} · ${percent(value / whole)}`),
            ),
          ),
        )
      : make("p", { class: "faint" }, empty),
    line && make("p", { class: "foot" }, line),
  ];
}

const queueLine = (queue) =>
  `${count(queue.waiting)} waiting (${milliseconds(queue.waiting_ms)} of work), ${count(queue.active)} being made`;

const tierLine = (cache) => `${percent(cache.hit_rate)} hits, ${bytes(cache.bytes)} held`;

const bytesLine = (sums) =>
  sums ? `${bytes(sums.in)} in, ${bytes(sums.out)} out, ${bytes(sums.saved)} saved` : null;

const cores = (value) => (number(value) === null ? "–" : `${value.toFixed(value < 0.95 ? 2 : 1)} cores`);

function routes(rows) {
  const cells = rows
    .slice(0, MOST_ROWS)
    .map((row) => [
      row.route ?? "–",
      rate(row.per_s),
      milliseconds(row.p50),
      milliseconds(row.p95),
      milliseconds(row.p99),
      percent(row.error_rate),
    ]);
  return [
    make("h3", {}, "Routes"),
    cells.length
      ? table("Routes", ["route", "req/s", "p50", "p95", "p99", "errors"], cells)
      : make("p", { class: "faint" }, "No requests in this minute."),
  ];
}

const KINDS = ["resizer", "gateway", "hub", "runner", "batch", "haproxy", "ray"];

/** Our own processes one by one; those of Ray itself together. */
function processes(snapshot) {
  const list = Array.isArray(snapshot.processes) ? snapshot.processes : [];
  const own = list.filter((one) => one.kind !== "ray");
  const rays = list.filter((one) => one.kind === "ray");
  const sum = (name) => rays.reduce((total, one) => total + (number(one[name]) ?? 0), 0);
  if (rays.length) {
    const [cpu, rss_bytes] = [sum("cpu"), sum("rss_bytes")];
    own.push({ process: `Ray, ${count(rays.length)} processes`, kind: "ray", cpu, rss_bytes });
  }
  own.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind));
  const cells = own
    .slice(0, 2 * MOST_ROWS)
    .map((one) => [
      one.process ?? "–",
      cores(one.cpu),
      bytes(one.rss_bytes),
      one.loop_lag_ms > 0 ? milliseconds(one.loop_lag_ms) : "–",
    ]);
  const line = `Resizers: ${count(snapshot.replicas)} · ${cores(snapshot.cpu)} · ${bytes(snapshot.memory_bytes)} of memory`;
  return [
    make("h3", {}, "Replicas and processes"),
    cells.length ? table("Processes", ["process", "CPU", "memory", "lag"], cells) : null,
    make("p", { class: "foot" }, line),
  ];
}

function errors(rows) {
  const cells = rows.slice(0, MOST_ROWS).map((row) => [
    make("time", { datetime: String(row.at ?? "") }, age(row.at)),
    row.route ?? "–",
    String(row.status ?? "–"),
    row.error ? make("a", { href: `problems/${encodeURIComponent(row.error)}` }, row.error) : "–",
    make("code", {}, row.request_id ?? "–"),
  ]);
  return [
    make("h3", {}, "Recent errors"),
    cells.length
      ? table("Recent errors", ["when", "route", "status", "problem", "request id"], cells)
      : make("p", { class: "faint" }, "None. Errors of the last minutes stand here."),
  ];
}
