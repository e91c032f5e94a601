// Draws the processes of one host as nested lists: who started whom, what each did, and the alerts in place.
import { alertLink, alertPath, element, timeElement } from "./nodes.js";

const DEEPEST = 16;
const NAMED = 5, ROWS = 4;
const LEVELS = ["Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"];

function stepText(step) {
  let text = `${step.verb} ${step.target}`.trimEnd();
  if (step.error) text += `: ${step.error}`;
  if (step.count > 1) text += ` ${step.count.toLocaleString()} times`;
  if (step.names > 1) text += ` (${step.names.toLocaleString()} names)`;
  return text;
}

function drawStep(step) {
  const item = element("li", { class: step.is_trigger ? "trigger" : "", "data-line": true, tabindex: step.is_trigger ? "-1" : "" }, timeElement(step.time), " ", element("span", {}, stepText(step)));
  if (step.is_trigger) item.append(element("span", { class: "hidden" }, " (the marked event)"));
  if (Date.parse(step.until) - Date.parse(step.time) > 1000) item.append(", until ", timeElement(step.until));
  if (step.ran) item.append(", which was run at ", timeElement(step.ran));
  for (const alert of step.alerts) {
    item.append(element("div", { class: "placed" }, "⚠ ", alert.is_this ? element("b", {}, "this alert") : alertLink(alert)));
  }
  return item;
}

function heading(process) {
  const parts = [element("b", {}, `${process.name}(${process.pid})`)];
  if (process.user) parts.push(` ${process.user}`);
  if (process.enters_container) parts.push(" in container ", element("b", {}, process.container));
  if (process.command !== process.name) parts.push(" ", element("code", { title: process.command }, process.command));
  if (process.origin) parts.push(" ", element("b", {}, process.origin));
  const notes = [];
  if (process.started) notes.push("started ", timeElement(process.started));
  if (process.ended) notes.push(notes.length ? ", exit " : "exit ", process.exit, " ", timeElement(process.ended));
  if (process.alike > 1) notes.push(`${notes.length ? ", " : ""}and ${(process.alike - 1).toLocaleString()} more that did the same`);
  if (notes.length) parts.push(" ", element("span", { class: "hint" }, ...notes));
  return parts;
}

const counted = (number, one) => `${number.toLocaleString()} more ${one}${number === 1 ? "" : one.endsWith("s") ? "es" : "s"}`;

// Draws items in order; those next to each other that are folded open together by a click.
function folded(items, isFolded, draw, summary, tag) {
  const nodes = [];
  for (let at = 0; at < items.length;) {
    let end = at;
    while (end < items.length && isFolded(items[end])) end++;
    // One line is as short as what would stand for it.
    if (end - at > 1) nodes.push(element("li", {}, element("details", { class: "more" }, element("summary", {}, summary(items.slice(at, end))), element(tag, { class: "steps" }, ...items.slice(at, end).map(draw)))));
    else if (end > at) nodes.push(draw(items[at]));
    else nodes.push(draw(items[end++]));
    at = end;
  }
  return nodes;
}

function drawProcess(process) {
  if (!process.steps.length) return element("li", {}, element("div", { class: "process", "data-line": true }, ...heading(process)));
  const isFolded = (step) => step.is_folded && !process.is_folded;
  const steps = element("ol", { class: "steps" }, ...folded(process.steps, isFolded, drawStep, (some) => counted(some.length, "action"), "ol"));
  if (process.more_steps) steps.append(element("li", { class: "hint" }, `and ${process.more_steps.toLocaleString()} more`));
  return element("li", {}, element("details", { class: "process", open: !process.is_folded }, element("summary", { "data-line": true }, ...heading(process)), steps));
}

// Appends a process to a list; folded ones next to each other open together by a click.
function place(list, item, process, isFold) {
  if (!isFold) {
    list.fold = null;
    list.node.append(item);
    return;
  }
  if (!list.fold) {
    list.fold = { names: [], summary: element("summary", {}), node: element("ul", {}) };
    list.node.append(element("li", {}, element("details", { class: "more" }, list.fold.summary, list.fold.node)));
  }
  const { names, summary, node } = list.fold;
  names.push(process.name);
  const different = [...new Set(names)];
  summary.textContent = `${counted(names.length, "process")}: ${different.slice(0, NAMED).join(", ")}${different.length > NAMED ? " …" : ""}`;
  node.append(item);
}

// How the first tree leads to another one.
function drawJoin(join, first) {
  const process = first.processes[join.process];
  const who = process ? `${process.name}(${process.pid})` : "an ancestor";
  return element("p", { class: "remark" }, `Joined to ${who} by the connection `, element("code", {}, `${join.local} → ${join.remote}`), ". Its other end is marked.");
}

function drawGroup(group) {
  if (group.count === 1 && group.alerts.length) {
    const [alert] = group.alerts;
    return element("li", {}, element("a", { href: alertPath(alert) }, group.rule), " ", element("span", { class: "hint" }, timeElement(alert.time)));
  }
  const items = group.alerts.map((alert) => element("li", {}, element("a", { href: alertPath(alert) }, timeElement(alert.time)), " ", element("span", { class: "sample" }, alert.output)));
  const more = group.count - group.alerts.length;
  if (more) items.push(element("li", { class: "hint" }, `${counted(more, "alert")}, further away`));
  return element("li", {}, element("details", {}, element("summary", {}, `${group.rule} `, element("span", { class: "hint" }, `${group.count.toLocaleString()} alerts`)), element("ul", { class: "names" }, ...items)));
}

// Groups of rules by priority, the most severe first; they are in this order.
function drawRelated(groups) {
  return LEVELS.map((priority, level) => [priority, level, groups.filter((group) => group.priority === priority)]).filter(([, , own]) => own.length).map(([priority, level, own]) => {
    const count = own.reduce((sum, group) => sum + group.count, 0);
    const text = `${count.toLocaleString()} alert${count === 1 ? "" : "s"} of ${own.length.toLocaleString()} rule${own.length === 1 ? "" : "s"}`;
    return element("details", { class: "related" }, element("summary", {}, element("span", { class: `badge p${level}` }, priority), ` ${text}`), element("ul", {}, ...own.map(drawGroup)));
  });
}

// All alerts of the time as dots, so that bursts and what came before are seen.
export function drawAxis(story) {
  const since = Date.parse(story.since), until = Date.parse(story.until);
  const placed = story.trees.flatMap((tree) => tree.processes.flatMap((process) => process.steps.flatMap((step) => step.alerts)));
  const listed = story.trees.flatMap((tree) => tree.alerts.flatMap((group) => group.alerts));
  const heights = new Map();
  const own = { id: "", time: story.time, priority: "", rule: "this alert", is_this: true };
  const others = [...placed, ...listed].filter((alert) => !alert.is_this);
  const dots = [own, ...new Map(others.map((alert) => [alert.id, alert])).values()].map((alert) => {
    const share = (Date.parse(alert.time) - since) / Math.max(until - since, 1);
    const column = Math.round(share * 150);
    const row = heights.get(column) ?? 0;
    heights.set(column, row + 1);
    const dot = element(alert.is_this ? "span" : "a", { class: alert.is_this ? "dot this" : `dot p${LEVELS.indexOf(alert.priority)}`, tabindex: alert.is_this ? "" : "-1",
      href: alert.is_this ? "" : alertPath(alert), title: alert.is_this ? "this alert" : `${alert.time.slice(11, 23)} UTC ${alert.priority}: ${alert.rule}` });
    dot.style.left = `${Math.min(Math.max(share, 0), 1) * 100}%`;
    dot.style.bottom = alert.is_this ? "0" : `${(row % ROWS) * 8}px`;
    return dot;
  });
  return element("div", { class: "axis", "aria-hidden": "true" }, element("div", { class: "dots" }, ...dots), element("div", { class: "ends" }, timeElement(story.since), timeElement(story.until)));
}

export function drawTree(tree, first) {
  const top = { node: element("ul", { class: "tree", "aria-label": `Processes on ${tree.host}` }), fold: null };
  const drawn = [];
  tree.processes.forEach((process, index) => {
    const item = drawProcess(process);
    const above = drawn[process.parent];
    // Deeper than this, descendants are drawn below one another.
    const depth = above ? Math.min(above.depth + 1, DEEPEST) : 0;
    if (above && above.depth < DEEPEST) above.below ??= { node: above.item.appendChild(element("ul", {})), fold: null };
    const list = !above ? top : above.depth < DEEPEST ? above.below : above.list;
    place(list, item, process, process.is_folded && !tree.processes[process.parent]?.is_folded);
    drawn[index] = { item, depth, list, below: null };
  });
  const notes = [];
  if (tree.more_processes) notes.push(`${tree.more_processes.toLocaleString()} more processes of this family are not drawn.`);
  if (tree.other_processes) {
    notes.push(`Other processes of this time: ${tree.other_processes.toLocaleString()}, with ${tree.other_events.toLocaleString()} events, are not drawn.`);
  }
  const section = element("section", { class: "host" }, element("h3", {}, tree.host));
  if (tree.join) section.append(drawJoin(tree.join, first));
  if (tree.leading.length) section.append(element("p", { class: "hint" }, tree.leading.join(" → ")));
  section.append(top.node, ...notes.map((text) => element("p", { class: "hint" }, text)));
  if (tree.alerts.length) section.append(element("h4", {}, "Other alerts of this time"), ...drawRelated(tree.alerts));
  return section;
}
