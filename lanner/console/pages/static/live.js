// Live updates by server-sent events, with a pause. A page in the background has no stream: browsers open few connections to
// a server. A page whose stream is refused, because others have as many as they may, is read again from time to time.
import { refresh, say } from "./page.js";

let paused = false;
let waiting = 0;
let stale = false;
let busy = false;
let wasAway = false;
let source = null;
let total = null;
let refusal = "";
const POLL_SECONDS = 15;

function show(state, text) {
  const button = document.getElementById("live");
  if (!button) return;
  button.dataset.state = state;
  button.setAttribute("aria-pressed", String(paused));
  button.querySelector("[data-label]").textContent = text;
  button.title = refusal ? `Not live: ${refusal}` : "Pause and continue (p)";
}

function label() {
  if (paused) show("paused", waiting ? `Paused, ${waiting} new` : "Paused");
  else if (refusal) show("polling", `Every ${POLL_SECONDS} s`);
  else if (document.querySelector("[data-late]")) show("late", "Behind");
  else show("live", "Live");
}

async function update() {
  stale = true;
  if (paused || busy || document.hidden || document.querySelector("dialog[open]")) return;
  if (new URLSearchParams(location.search).has("offset")) return;
  busy = true;
  try {
    while (stale && !paused) {
      stale = false;
      await refresh();
    }
    waiting = 0;
    label();
  } catch (error) {
    say(`The page could not be read again: ${error.message}`);
  } finally {
    busy = false;
  }
}

export function togglePause() {
  if (!document.getElementById("live")) return;
  paused = !paused;
  label();
  if (!paused) update();
}

export function bindLive() {
  const button = document.getElementById("live");
  if (!button && !document.querySelector("form[data-comment]")) return;
  button?.addEventListener("click", togglePause);
  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  connect();
}

function disconnect() {
  source?.close();
  source = null;
  wasAway = true;
}

function connect() {
  if (source || document.hidden) return;
  source = new EventSource("/api/live");
  source.addEventListener("hello", (event) => {
    const hello = JSON.parse(event.data);
    waiting += Math.max(0, hello.total - (total ?? hello.total));
    total = hello.total;
    refusal = "";
    label();
    // A change between the request of the page and this connection was announced to nobody.
    if (wasAway || String(hello.version) !== document.body.dataset.version) update();
    wasAway = false;
  });
  source.addEventListener("change", (event) => {
    const { added } = JSON.parse(event.data);
    waiting += added;
    total += added;
    label();
    update();
  });
  source.addEventListener("error", () => {
    wasAway = true;
    if (!refusal) show("away", "Reconnecting");
    // After an answer such as 429, the browser doesn't try again by itself, nor does it tell the answer.
    if (source?.readyState === EventSource.CLOSED) poll();
  });
}

async function poll() {
  disconnect();
  let reason = "";
  const stop = new AbortController();
  try {
    const answer = await fetch("/api/live", { signal: stop.signal });
    if (answer.status === 429) reason = (await answer.json()).error;
  } catch {
    // The console is away.
  }
  stop.abort();
  if (reason && !refusal) say(`Not live: ${reason} The page is read again every ${POLL_SECONDS} s.`);
  refusal = reason;
  if (reason) {
    label();
    update();
  } else show("away", "Reconnecting");
  setTimeout(connect, (reason ? POLL_SECONDS : 3) * 1000);
}
