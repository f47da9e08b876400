// The last five minutes for the charts: steps of five seconds, asked of the tables, or the snapshots
// as they come where the tables cannot be asked.
import { Problem, askJson, serves } from "./access.js";
import { History } from "./chart.js";
import { number } from "./units.js";

const STEP_S = 5;
const SPAN_S = 300;
const QUESTION =
  `api/metrics/query?table=requests&window=${SPAN_S}s&step=${STEP_S}s` +
  "&aggregations=rate,sum:renditions,p50:total_ms,p95:total_ms,p99:total_ms";

export class Past {
  history = new History();
  askedS = 0;
  canAsk = serves("/api/metrics/query");

  /** Takes note of a snapshot; `onChange` is called when there is something new to draw. */
  async note(snapshot, onChange) {
    const atS = (Date.parse(snapshot.at) || Date.now()) / 1000;
    if (!this.canAsk) {
      this.add(atS, snapshot);
      onChange(this.history);
      return;
    }
    if (atS - this.askedS < STEP_S) return;
    this.askedS = atS;
    try {
      const { rows } = await askJson(QUESTION, { cache: "no-store" });
      this.history.replace(pointsOf(rows, atS));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return; // what the charts show stands; the stream says how the service is
    }
    onChange(this.history);
  }

  add(atS, { requests = {}, renditions_per_s: renditions, latency_ms: latency = {} }) {
    this.history.add(atS, {
      requests: number(requests.per_s),
      renditions: number(renditions),
      p50: number(latency.p50),
      p95: number(latency.p95),
      p99: number(latency.p99),
    });
  }
}

/** A point for each whole step; a step without a row is one without requests. */
function pointsOf(rows, nowS) {
  const known = new Map(rows.map((row) => [Math.round(row.at_s), row]));
  const end = Math.floor(nowS / STEP_S) * STEP_S;
  const points = [];
  for (let atS = end - SPAN_S; atS < end; atS += STEP_S) {
    const row = known.get(atS) ?? {};
    points.push({
      atS,
      requests: row.rate ?? 0,
      renditions: (row.sum_renditions ?? 0) / STEP_S,
      p50: number(row.p50_total_ms),
      p95: number(row.p95_total_ms),
      p99: number(row.p99_total_ms),
    });
  }
  return points;
}
