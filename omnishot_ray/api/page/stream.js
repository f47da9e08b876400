// Snapshots of the service while somebody looks: by WebSocket, or asked for every two seconds where
// sockets do not get through. A page in the background asks for nothing.
import { Problem, askJson, openSocket, serves } from "./access.js";

const STREAM = "/api/metrics/stream";
const POLL_MS = 2000;
const SILENCE_MS = 6000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Calls `onSnapshot(snapshot)` about once a second and `onState(state)` when it changes:
 * "live", "polling", "offline", "key" (one is wanted) or "off" (there are no metrics here).
 */
export function watch(onSnapshot, onState) {
  let socket = null;
  let timer = 0;
  let failures = 0;
  let wanted = false;
  let running = false;
  let turn = 0;

  const later = (step, ms) => {
    clearTimeout(timer);
    timer = setTimeout(step, ms);
  };

  const take = (snapshot, state) => {
    failures = 0;
    onState(state);
    onSnapshot(snapshot);
  };

  function start() {
    if (running || document.hidden || !wanted) return;
    running = true;
    turn += 1;
    if (serves(STREAM) && failures % 5 === 0) listen(turn);
    else poll(turn);
  }

  function stop() {
    running = false;
    turn += 1;
    clearTimeout(timer);
    socket?.close();
    socket = null;
  }

  function again(ms) {
    stop();
    failures += 1;
    later(start, ms);
  }

  function listen(mine) {
    const opened = openSocket(STREAM.slice(1));
    socket = opened;
    let heard = false;
    // A way that swallows sockets looks open and says nothing.
    const giveUp = () => {
      if (mine !== turn) return;
      opened.close();
      socket = null;
      if (!heard) failures += 1;
      poll(mine);
    };
    later(giveUp, SILENCE_MS);
    opened.onopen = () => opened.send(JSON.stringify({ subscribe: "metrics" }));
    opened.onmessage = (message) => {
      if (mine !== turn) return;
      let snapshot;
      try {
        snapshot = JSON.parse(message.data);
      } catch {
        return;
      }
      if (!snapshot || typeof snapshot !== "object" || !("requests" in snapshot)) return;
      heard = true;
      later(giveUp, SILENCE_MS);
      take(snapshot, "live");
    };
    opened.onclose = () => {
      if (mine !== turn || socket !== opened) return;
      socket = null;
      if (heard) again(1000);
      else giveUp();
    };
  }

  async function poll(mine) {
    try {
      const snapshot = await askJson("api/metrics?window=1m", { cache: "no-store" });
      if (mine !== turn) return;
      take(snapshot, "polling");
      later(() => poll(mine), POLL_MS);
    } catch (error) {
      if (mine !== turn) return;
      if (!(error instanceof Problem)) throw error;
      stop();
      wanted = !error.wantsKey && error.status !== 404; // else asking again changes nothing
      if (error.wantsKey) onState("key", error);
      else if (error.status === 404) onState("off");
      else {
        onState("offline");
        const pause = Math.max((error.waitS ?? 0) * 1000, POLL_MS * 2 ** Math.min(failures, 4));
        again(Math.min(pause, LONGEST_PAUSE_MS));
      }
    }
  }

  document.addEventListener("visibilitychange", () => {
    stop();
    start();
  });
  return {
    /** Begins, or begins anew with another key. */
    restart() {
      wanted = true;
      failures = 0;
      stop();
      start();
    },
  };
}
