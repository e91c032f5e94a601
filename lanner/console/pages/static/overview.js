// What is new on the overview begins where this browser left it: when the page was closed last.
import { refresh } from "./page.js";

const PLACE = "lanner-looked";

function stored() {
  try {
    return localStorage.getItem(PLACE) ?? "";
  } catch {
    return "";
  }
}

function store() {
  try {
    localStorage.setItem(PLACE, new Date().toISOString());
  } catch {
    // This browser stores nothing: a day is new.
  }
}

export function bindOverview() {
  if (!document.querySelector("[data-overview]")) return;
  const query = new URLSearchParams(location.search);
  const looked = stored();
  if (!query.has("seen") && looked) {
    query.set("seen", looked);
    history.replaceState(null, "", `?${query}`);
    refresh().catch(() => {});
  }
  addEventListener("pagehide", store);
}
