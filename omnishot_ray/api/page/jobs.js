// Jobs: what waits by priority, the latest, and those that were given up, with a way to try again.
import { Problem, ask, askJson, serves } from "./access.js";
import { byId, make, put, show, table } from "./dom.js";
import { bars, tile } from "./live.js";
import { age, count, milliseconds, number, rate } from "./units.js";

const EVERY_MS = 3000;
const MOST = 8;

/** Shows the section where the service has jobs. `onKeyWanted(problem)` as for pictures. */
export function setUpJobs(onKeyWanted) {
  let timer = 0;
  let turn = 0;

  async function look(mine) {
    try {
      const [stats, recent, dead] = await Promise.all([
        askJson("api/queue/stats", { cache: "no-store" }),
        askJson(`api/jobs?limit=${MOST}`, { cache: "no-store" }),
        askJson(`api/jobs?status=dead&limit=${MOST}`, { cache: "no-store" }),
      ]);
      if (mine !== turn) return;
      showStats(stats);
      showRecent(recent.jobs ?? []);
      showDead(dead.jobs ?? [], retry);
      show(byId("jobs"));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (mine !== turn) return;
      if (error.wantsKey) return; // the key is asked for where the page asks for figures
      if (error.status === 404) {
        show(byId("jobs"), false);
        return;
      }
    }
    timer = setTimeout(() => look(mine), EVERY_MS);
  }

  async function retry(id, button) {
    button.disabled = true;
    button.textContent = "Asked";
    try {
      await ask(`api/jobs/${encodeURIComponent(id)}/retry`, { method: "POST" });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.wantsKey) onKeyWanted(error);
      button.title = error.message;
      button.textContent = "Not possible";
      return;
    }
    restart();
  }

  function restart() {
    clearTimeout(timer);
    turn += 1;
    if (serves("/api/queue/stats") && !document.hidden) look(turn);
  }

  document.addEventListener("visibilitychange", restart);
  return { restart };
}

function showStats(stats) {
  const oldest = number(stats.oldest_waiting_s);
  put(
    byId("job-tiles"),
    tile("jobs-waiting", "Waiting", count(stats.waiting), oldest ? `for ${milliseconds(oldest * 1000)}` : "nothing in line"),
    tile("jobs-active", "Active", count(stats.active), `workers: ${count(stats.workers?.length)}`),
    tile("jobs-delayed", "Delayed", count(stats.delayed), "to be tried again"),
    tile("jobs-done", "Completed", count(stats.completed), `${rate(stats.rate_per_minute)} a minute`),
    tile("jobs-failed", "Failed", count(stats.failed), `${count(stats.stalled)} stalled`),
    tile("jobs-dead", "Given up", count(stats.dead), "see below"),
  );
  const entries = Object.entries(stats.by_priority ?? {}).map(([priority, value]) => [
    `priority ${priority}`,
    value.waiting,
  ]);
  const names = Object.fromEntries(entries.map(([name]) => [name, name]));
  put(
    byId("job-priorities"),
    ...bars("Waiting by priority", Object.fromEntries(entries), names, null, "Nothing waits."),
  );
}

function showRecent(jobs) {
  const cells = jobs.map((job) => [
    make("code", {}, job.id),
    make("span", { class: "status", "data-status": job.status }, job.status ?? "–"),
    `${count(job.progress)} %`,
    count(job.priority),
    count(job.attempts),
    age(job.created_at),
  ]);
  put(
    byId("job-recent"),
    make("h3", {}, "Recent jobs"),
    cells.length
      ? table("Recent jobs", ["id", "status", "progress", "priority", "attempts", "came"], cells)
      : make("p", { class: "faint" }, "None yet. POST /api/jobs takes long work."),
  );
}

function showDead(jobs, retry) {
  const rows = jobs.map((job) =>
    make(
      "li",
      {},
      make("code", {}, job.id),
      make("span", {}, reasonOf(job)),
      make(
        "button",
        {
          type: "button",
          class: "quiet",
          "aria-label": `Replay ${job.id}`,
          onclick: (event) => retry(job.id, event.currentTarget),
        },
        "Replay",
      ),
    ),
  );
  put(
    byId("job-dead"),
    make("h3", {}, "Given up"),
    rows.length
      ? make("ul", { class: "dead" }, ...rows)
      : make("p", { class: "faint" }, "None. Jobs that failed too often wait here to be replayed."),
  );
}

const reasonOf = ({ error }) => error?.detail ?? error?.title ?? "no reason is known";
