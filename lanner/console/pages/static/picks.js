// Selects rows by checkboxes, by mouse, keyboard or finger; the bar below the list then decides about all of them.
import { act } from "./actions.js";
import { rows } from "./page.js";

let last = null;

export const picked = () => rows().filter((row) => row.classList.contains("selected"));

export function pick(row, on) {
  row?.classList.toggle("selected", on);
  show();
}

function show() {
  for (const row of rows()) {
    const box = row.querySelector("[data-pick]");
    if (box) box.checked = row.classList.contains("selected");
  }
  const bar = document.getElementById("bulk");
  if (!bar) return;
  const count = picked().length;
  bar.hidden = !count;
  bar.querySelector("[data-selected]").textContent = `${count} selected`;
  const all = document.querySelector("[data-pick-all]");
  all.checked = count > 0 && count === rows().length;
  all.indeterminate = count > 0 && !all.checked;
}

export function bindPicks() {
  document.addEventListener("click", (event) => {
    const box = event.target.closest("[data-pick]");
    if (box) {
      const all = rows();
      const row = box.closest("tr");
      const from = event.shiftKey ? all.indexOf(last) : -1;
      const ends = [from < 0 ? all.indexOf(row) : from, all.indexOf(row)].sort((a, b) => a - b);
      for (const each of all.slice(ends[0], ends[1] + 1)) each.classList.toggle("selected", box.checked);
      last = row;
      show();
    }
    const everything = event.target.closest("[data-pick-all], [data-unpick]");
    if (everything) {
      for (const row of rows()) row.classList.toggle("selected", Boolean(everything.checked));
      show();
    }
    const button = event.target.closest("[data-bulk]");
    if (button) act(button.dataset.bulk, picked());
  });
  document.addEventListener("lanner:content", show);
  show();
}
