// Keys: every view and action without a mouse.
import { act } from "./actions.js";
import { togglePause } from "./live.js";
import { currentRow, refresh, rows } from "./page.js";
import { pick } from "./picks.js";

let afterG = false;

function move(step) {
  const all = rows().filter((row) => row.querySelector("[data-open]"));
  if (!all.length) return;
  const at = all.indexOf(currentRow());
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
  const link = all[next].querySelector("[data-open]");
  link.focus();
  all[next].scrollIntoView({ block: "nearest" });
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  x: () => pick(currentRow()),
  a: () => act("acknowledge"),
  i: () => act("assign"),
  m: () => act("mute"),
  c: () => document.getElementById("comment")?.focus(),
  "/": () => document.querySelector("#filters :is([type=search], textarea), [data-find]")?.focus(),
  f: () => {
    const more = document.getElementById("more");
    if (!more) return;
    more.open = true;
    more.querySelector("input").focus();
  },
  p: togglePause,
  r: () => refresh(),
  u: () => document.querySelector("[data-up]")?.click(),
  "?": () => document.getElementById("keys").showModal(),
};

// Goes back to the list as it was: with its filters and the place in it.
function up(event) {
  const from = URL.parse?.(document.referrer);
  if (from?.origin !== location.origin || from.pathname !== new URL(event.target.href).pathname) return;
  event.preventDefault();
  history.back();
}

export function bindKeys() {
  document.addEventListener("click", (event) => { if (event.target.matches("[data-up]")) up(event); });
  document.querySelector("[data-help]")?.addEventListener("click", KEYS["?"]);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (afterG) {
      afterG = false;
      document.querySelector(`[data-go="${CSS.escape(event.key)}"]`)?.click();
      return;
    }
    if (event.key === "g") {
      afterG = true;
      setTimeout(() => { afterG = false; }, 1500);
      return;
    }
    const run = KEYS[event.key];
    if (run) {
      event.preventDefault();
      run();
    }
  });
}
