// Selects a time on the histogram by dragging; the address then holds it.
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

export function bindBrush() {
  let from = null;
  document.addEventListener("pointerdown", (event) => {
    const svg = event.target.closest?.("#histogram");
    if (!svg || event.button !== 0) return;
    from = position(svg, event);
    svg.setPointerCapture(event.pointerId);
  });
  document.addEventListener("pointermove", (event) => {
    const svg = document.getElementById("histogram");
    if (from === null || !svg) return;
    const to = position(svg, event);
    const brush = svg.querySelector("#brush");
    brush.setAttribute("x", String(Math.min(from, to)));
    brush.setAttribute("width", String(Math.abs(to - from)));
  });
  document.addEventListener("pointerup", (event) => {
    const svg = document.getElementById("histogram");
    if (from === null || !svg) return;
    const ends = [from, position(svg, event)].sort((a, b) => a - b);
    from = null;
    const all = columns(svg);
    const at = (x) => all[Math.min(Math.floor(x / WIDTH * all.length), all.length - 1)];
    if (all.length) go(Number(at(ends[0]).dataset.start), Number(at(ends[1]).dataset.end));
  });
  document.addEventListener("pointercancel", () => { from = null; });
}
