// Selects a time on the histogram by dragging; the address then holds it.
import { range } from "./times.js";

const WIDTH = 1000;

function position(svg, event) {
  const box = svg.getBoundingClientRect();
  return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) * WIDTH;
}

function columns(svg) {
  return [...svg.querySelectorAll("g[data-start]")];
}

function go(since, until) {
  const query = new URLSearchParams(location.search);
  const text = (microseconds) => new Date(Math.round(microseconds / 1000)).toISOString();
  query.set("since", text(since));
  query.set("until", text(until));
  query.delete("offset");
  location.search = query.toString();
}

// States what is under the pointer, or in the range that is being selected; the legend returns afterwards.
function state(shown) {
  const caption = document.querySelector(".histogram figcaption");
  if (!caption) return;
  const under = caption.querySelector("[data-under]");
  under.hidden = !shown.length;
  caption.querySelector("[data-legend]").hidden = !under.hidden;
  if (!shown.length) return;
  const count = shown.reduce((sum, each) => sum + Number(each.dataset.count), 0);
  const text = shown.length === 1 ? shown[0].dataset.text : `${count.toLocaleString()} alerts`;
  under.textContent = `${range(Number(shown[0].dataset.start) / 1000, Number(shown.at(-1).dataset.end) / 1000)}: ${text}`;
}

export function bindBrush() {
  let from = null;
  const between = (svg, event) => {
    const all = columns(svg);
    const ends = [from ?? position(svg, event), position(svg, event)].sort((a, b) => a - b);
    const at = (x) => Math.min(Math.floor(x / WIDTH * all.length), all.length - 1);
    return all.slice(at(ends[0]), at(ends[1]) + 1);
  };
  document.addEventListener("pointerdown", (event) => {
    const svg = event.target.closest?.("#histogram");
    if (!svg || event.button !== 0) return;
    from = position(svg, event);
    svg.setPointerCapture(event.pointerId);
  });
  document.addEventListener("pointermove", (event) => {
    const svg = document.getElementById("histogram");
    if (!svg) return;
    if (from === null) {
      state(event.target.closest?.("#histogram") ? between(svg, event) : []);
      return;
    }
    const to = position(svg, event);
    const brush = svg.querySelector("#brush");
    brush.setAttribute("x", String(Math.min(from, to)));
    brush.setAttribute("width", String(Math.abs(to - from)));
    state(between(svg, event));
  });
  document.addEventListener("pointerup", (event) => {
    const svg = document.getElementById("histogram");
    if (from === null || !svg) return;
    const chosen = between(svg, event);
    from = null;
    if (chosen.length) go(Number(chosen[0].dataset.start), Number(chosen.at(-1).dataset.end));
  });
  document.addEventListener("pointercancel", () => { from = null; });
}
