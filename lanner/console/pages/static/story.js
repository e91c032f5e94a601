// The story of an alert: parts that are read when they are looked at, and drawn as lists. Every value is set as text.
import { element } from "./nodes.js";
import { drawException } from "./exception.js";
import { drawExplanation, drawTest } from "./rule.js";
import { jsonOf, say } from "./page.js";
import { bindFind, drawTools } from "./find.js";
import { drawAxis, drawTree } from "./tree.js";

const LONGEST = 400;

// What each part is made of its answer.
const DRAW = { story: drawStory, explanation: drawExplanation, test: drawTest, exception: drawException };

function drawCollected(host) {
  const head = `${host.host}: ${host.events.toLocaleString()} events in ${host.batches.toLocaleString()} batches of this time.`;
  return element("li", { class: host.lost ? "problem" : "" }, head, element("ul", {}, ...host.sentences.map((text) => element("li", {}, text))));
}

function drawStory(story) {
  const nodes = story.trees.map((tree) => drawTree(tree, story.trees[0]));
  if (nodes.length) nodes.unshift(drawAxis(story), drawTools(story));
  if (story.left_out) nodes.push(element("p", { class: "hint" }, `${story.left_out.toLocaleString()} events further away are left out; show a shorter time.`));
  for (const text of story.remarks) nodes.push(element("p", { class: "remark" }, text));
  if (story.collected.length) {
    nodes.push(element("details", {}, element("summary", {}, "What was collected at that time, and what was not"),
      element("ul", { class: "collected" }, ...story.collected.map(drawCollected))));
  }
  return nodes;
}

async function load(part) {
  const body = part.querySelector("[data-body]");
  const stop = element("button", { type: "button" }, "Stop");
  const aborted = new AbortController();
  stop.addEventListener("click", () => aborted.abort());
  const chosen = body.contains(document.activeElement) ? document.activeElement.value : "";
  body.setAttribute("aria-busy", "true");
  body.replaceChildren(element("p", {}, element("progress", { "aria-label": part.dataset.label }), ` ${part.dataset.label} `, stop));
  part.reading?.abort();
  part.reading = aborted;
  const query = new URLSearchParams(new FormData(part.querySelector("form") ?? undefined));
  try {
    const found = await jsonOf(await fetch(`${part.dataset.part}?${query}`, { signal: aborted.signal }));
    if (part.reading !== aborted) return;
    body.replaceChildren(...DRAW[part.dataset.kind](found, part));
    if (chosen) body.querySelector(`[value="${CSS.escape(chosen)}"]`)?.focus();
  } catch (error) {
    if (part.reading !== aborted) return;
    const fields = part.querySelector("[name=fields]");
    // Otherwise, what was refused would be asked for again.
    if (fields) fields.value = "";
    const again = element("button", { type: "button" }, "Read again");
    again.addEventListener("click", () => load(part));
    const text = aborted.signal.aborted ? "Stopped." : `This could not be read: ${error.message.slice(0, LONGEST)}`;
    body.replaceChildren(element("p", { class: aborted.signal.aborted ? "hint" : "problem" }, text), again);
  }
  body.setAttribute("aria-busy", "false");
}

// Exports the time range that is shown; a failure is a message, not a broken download.
async function exportIncident(link) {
  const form = document.querySelector("[data-kind=story] form");
  say("Reading the events …");
  try {
    const answer = await fetch(`${link.getAttribute("href")}?${new URLSearchParams(new FormData(form))}`);
    if (!answer.ok) await jsonOf(answer);
    const address = URL.createObjectURL(await answer.blob());
    element("a", { href: address, download: link.dataset.export }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    say("Exported.");
  } catch (error) {
    say(`This was not exported: ${error.message.slice(0, LONGEST)}`);
  }
}

export function bindStory() {
  bindFind();
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-export]");
    if (!link) return;
    event.preventDefault();
    exportIncident(link);
  });
  for (const part of document.querySelectorAll("[data-part]")) {
    part.querySelector("form")?.addEventListener("change", () => load(part));
    part.querySelector("form")?.addEventListener("submit", (event) => { event.preventDefault(); load(part); });
    if (part.tagName !== "DETAILS") load(part);
    else part.addEventListener("toggle", () => { if (part.open && !part.reading) load(part); });
  }
}
