// Puts the page together.
import { key, rememberKey, service, serves } from "./access.js";
import { byId, show } from "./dom.js";
import { setUpJobs } from "./jobs.js";
import { showSnapshot } from "./live.js";
import { setUpPicture } from "./picture.js";
import { watch } from "./stream.js";

const STATES = {
  live: "Live",
  polling: "Live, every 2 s",
  offline: "No answer, trying again",
  key: "A key is wanted",
  off: "No figures here",
};

const dialog = byId("key-dialog");

function askForKey(problem) {
  const refused = problem?.status === 403;
  if (refused) rememberKey("");
  if (dialog.open && !refused) return; // another part of the page has asked, and may have said why
  byId("key-problem").textContent = refused ? problem.message : "";
  show(byId("key-problem"), refused);
  if (!dialog.open) dialog.showModal();
}

function showState(state, problem) {
  byId("state").dataset.state = state;
  if (byId("state-text").textContent !== STATES[state]) {
    byId("state-text").textContent = STATES[state];
  }
  if (state === "key" && problem) askForKey(problem);
}

byId("version").textContent = service.version;
show(byId("key-button"), service.keys);
const picture = setUpPicture(askForKey);
const jobs = setUpJobs(askForKey);
const hasFigures = serves("/api/metrics") || serves("/api/metrics/stream");
const live = hasFigures ? watch(showSnapshot, showState) : { restart() {} };
if (!hasFigures) showState("off");

byId("key-button").addEventListener("click", () => askForKey());
byId("key-later").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => {
  const given = byId("key").value.trim();
  byId("key").value = "";
  if (dialog.returnValue !== "use" || !given) return;
  dialog.returnValue = "";
  rememberKey(given);
  begin();
});

function begin() {
  picture.load();
  jobs.restart();
  live.restart();
}

if (service.keys && !key()) {
  showState("key");
  askForKey();
} else begin();
