// Numbers as people read them. What is missing or no number is a dash.

const DASH = "–";
const NBSP = "\u00a0"; // a number and its unit stay on one line
const known = (value) => typeof value === "number" && Number.isFinite(value);

export function count(value) {
  if (!known(value)) return DASH;
  if (Math.abs(value) >= 1e6) return `${(value / 1e6).toFixed(1)}${NBSP}M`;
  return Math.round(value).toLocaleString("en");
}

export function rate(value) {
  if (!known(value)) return DASH;
  return value >= 100 ? count(value) : value.toFixed(value === 0 || value >= 10 ? 0 : 1);
}

export function percent(share) {
  if (!known(share)) return DASH;
  const value = share * 100;
  return `${value === 0 || Math.abs(value) >= 10 ? value.toFixed(0) : value.toFixed(1)}${NBSP}%`;
}

export function milliseconds(value) {
  if (!known(value)) return DASH;
  if (value >= 10_000) return `${(value / 1000).toFixed(0)}${NBSP}s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)}${NBSP}s`;
  return `${value.toFixed(value === 0 || value >= 10 ? 0 : 1)}${NBSP}ms`;
}

/** Decimal, as file managers and platforms count. */
export function bytes(value) {
  if (!known(value)) return DASH;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let [left, at] = [Math.abs(value), 0];
  while (left >= 999.5 && at < units.length - 1) [left, at] = [left / 1000, at + 1];
  const digits = at === 0 || left >= 100 ? 0 : left >= 10 ? (at >= 2 ? 1 : 0) : 1;
  return `${value < 0 ? "−" : ""}${left.toFixed(digits)}${NBSP}${units[at]}`;
}

/** What has become smaller or larger: `−84 %`, `+12 %`. */
export function change(before, after) {
  if (!known(before) || !known(after) || before <= 0) return DASH;
  const value = Math.round((after / before - 1) * 100);
  if (value === 0) return `±0${NBSP}%`;
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toLocaleString("en")}${NBSP}%`;
}

export function age(iso, now = Date.now()) {
  const at = typeof iso === "number" ? iso * 1000 : Date.parse(iso);
  if (!Number.isFinite(at)) return DASH;
  const seconds = Math.max(0, (now - at) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}

export const number = (value) => (known(value) ? value : null);
