// Live updates by server-sent events, with a pause. A page in the background waits until it is looked at.
import { refresh, say } from "./page.js";

let paused = false;
let waiting = 0;
let stale = false;
let busy = false;
let wasAway = false;

function show(state, text) {
  const button = document.getElementById("live");
  if (!button) return;
  button.dataset.state = state;
  button.setAttribute("aria-pressed", String(paused));
  button.querySelector("[data-label]").textContent = text;
}

function label() {
  show(paused ? "paused" : "live", paused ? (waiting ? `Paused, ${waiting} new` : "Paused") : "Live");
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
  document.addEventListener("visibilitychange", () => { if (!document.hidden && stale) update(); });
  connect();
}

function connect() {
  const source = new EventSource("/api/live");
  source.addEventListener("hello", (event) => {
    label();
    // A change between the request of the page and this connection was announced to nobody.
    if (wasAway || String(JSON.parse(event.data).version) !== document.body.dataset.version) update();
    wasAway = false;
  });
  source.addEventListener("change", (event) => {
    waiting += JSON.parse(event.data).added;
    label();
    update();
  });
  source.addEventListener("error", () => {
    wasAway = true;
    show("away", "Reconnecting");
    // After an answer such as 503 of a proxy, the browser doesn't try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  });
}
