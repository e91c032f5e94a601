// Draws the processes of one host as nested lists: who started whom, what each did, and the alerts in place.
import { alertLink, element, timeElement } from "./nodes.js";

const DEEPEST = 16;

function stepText(step) {
  let text = `${step.verb} ${step.target}`.trimEnd();
  if (step.error) text += `: ${step.error}`;
  if (step.count > 1) text += ` ${step.count.toLocaleString()} times`;
  if (step.names > 1) text += ` (${step.names.toLocaleString()} names)`;
  return text;
}

function drawStep(step) {
  const item = element("li", { class: step.is_trigger ? "trigger" : "" }, timeElement(step.time), " ", element("span", {}, stepText(step)));
  if (step.is_trigger) item.append(element("span", { class: "hidden" }, " (the marked event)"));
  if (Date.parse(step.until) - Date.parse(step.time) > 1000) item.append(", until ", timeElement(step.until));
  for (const alert of step.alerts) {
    item.append(element("div", { class: "placed" }, "⚠ ", alert.is_this ? element("b", {}, "this alert") : alertLink(alert)));
  }
  return item;
}

function heading(process) {
  const parts = [element("b", {}, `${process.name}(${process.pid})`)];
  if (process.user) parts.push(` ${process.user}`);
  if (process.enters_container) parts.push(" in container ", element("b", {}, process.container));
  if (process.command !== process.name) parts.push(" ", element("code", {}, process.command));
  const notes = [];
  if (process.started) notes.push("started ", timeElement(process.started));
  if (process.ended) notes.push(notes.length ? ", exit " : "exit ", process.exit, " ", timeElement(process.ended));
  if (process.alike > 1) notes.push(`${notes.length ? ", " : ""}and ${(process.alike - 1).toLocaleString()} more that did the same`);
  if (notes.length) parts.push(" ", element("span", { class: "hint" }, ...notes));
  return parts;
}

function drawProcess(process) {
  if (!process.steps.length) return element("li", {}, element("div", { class: "process" }, ...heading(process)));
  const steps = element("ol", { class: "steps" }, ...process.steps.map(drawStep));
  if (process.more_steps) steps.append(element("li", { class: "hint" }, `and ${process.more_steps.toLocaleString()} more`));
  return element("li", {}, element("details", { class: "process", open: true }, element("summary", {}, ...heading(process)), steps));
}

// How the first tree leads to another one.
function drawJoin(join, first) {
  const process = first.processes[join.process];
  const who = process ? `${process.name}(${process.pid})` : "an ancestor";
  return element("p", { class: "remark" }, `Joined to ${who} by the connection `, element("code", {}, `${join.local} → ${join.remote}`), ". Its other end is marked.");
}

export function drawTree(tree, first) {
  const top = element("ul", { class: "tree", "aria-label": `Processes on ${tree.host}` });
  const lists = [];
  tree.processes.forEach((process, index) => {
    const item = drawProcess(process);
    const above = lists[process.parent];
    // Deeper than this, descendants are drawn below one another.
    const depth = above ? Math.min(above.depth + 1, DEEPEST) : 0;
    if (above && above.depth < DEEPEST) {
      above.list ??= above.item.appendChild(element("ul", {}));
      above.list.append(item);
    } else (above?.item.parentElement ?? top).append(item);
    lists[index] = { item, depth, list: null };
  });
  const notes = [];
  if (tree.more_processes) notes.push(`${tree.more_processes.toLocaleString()} more processes of this family are not drawn.`);
  if (tree.other_processes) {
    notes.push(`Other processes of this time: ${tree.other_processes.toLocaleString()}, with ${tree.other_events.toLocaleString()} events, are not drawn.`);
  }
  const section = element("section", { class: "host" }, element("h3", {}, tree.host));
  if (tree.join) section.append(drawJoin(tree.join, first));
  if (tree.leading.length) section.append(element("p", { class: "hint" }, tree.leading.join(" → ")));
  section.append(top, ...notes.map((text) => element("p", { class: "hint" }, text)));
  if (tree.alerts.length) {
    const items = tree.alerts.map((alert) => element("li", {}, timeElement(alert.time), " ", alertLink(alert)));
    if (tree.more_alerts) items.push(element("li", {}, `and ${tree.more_alerts.toLocaleString()} more`));
    section.append(element("h4", {}, "Other alerts of this time"), element("ul", { class: "names" }, ...items));
  }
  return section;
}
