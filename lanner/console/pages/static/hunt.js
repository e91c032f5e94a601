// Runs a hunt and shows its table and histogram. Everything is text that somebody on a host chose, and is added as text only.
import { localTime } from "./filters.js";
import { copy, jsonOf, post, say } from "./page.js";
import { copyable } from "./rule.js";
import { element, events, showProblems, time } from "./stream.js";
import { localTimes, range, zone } from "./times.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [1000, 80];
const ENDS = {
  complete: "",
  stopped: "It was stopped: this is what was found until then.",
  time: "Its time was over: this is what was found until then.",
  disk: "Its files took too much space: this is what was found until then.",
};

// What the form has without defaults; what is empty is left out when its data are read.
function values(form) {
  const given = Object.fromEntries(new FormData(form));
  if (given.language === "sql") for (const name of ["group_by", "rare", "order", "fields"]) delete given[name];
  else delete given.language;
  if (given.order === "fewest") delete given.order;
  return given;
}

function address(given) {
  return `/hunt?${new URLSearchParams(given)}`;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}

const moment = (milliseconds) => new Date(milliseconds).toISOString();

// Bars over time; one that is chosen becomes the time range of the form.
function histogram({ start, step, counts }, choose) {
  const most = Math.max(...counts, 1);
  const width = WIDTH / counts.length;
  const total = counts.reduce((sum, each) => sum + each, 0);
  const figure = element("figure", "", { class: "histogram" });
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Events over time: ${total.toLocaleString()} in all, at most ${most.toLocaleString()} in one column` });
  const under = element("span", "Choose a column to narrow the time.");
  counts.forEach((count, index) => {
    const group = shape("g", {});
    const height = count ? Math.max(count * HEIGHT / most, 1) : 0;
    group.append(shape("rect", { class: "hit", x: index * width, y: 0, width, height: HEIGHT }),
      shape("rect", { class: "notice", x: index * width, y: HEIGHT - height, width: Math.max(width - 1.5, 1), height }));
    const [since, until] = [start + index * step, start + (index + 1) * step];
    group.addEventListener("pointerenter", () => {
      under.textContent = `${range(since, until)}: ${count.toLocaleString()} event${count === 1 ? "" : "s"}`;
    });
    group.addEventListener("click", () => choose(moment(since), moment(until)));
    svg.append(group);
  });
  const plot = element("div", "", { class: "plot" });
  const scale = element("div", "", { class: "scale", "aria-hidden": "true" });
  scale.append(element("span", most.toLocaleString()), element("span", "0"));
  const ticks = element("div", "", { class: "ticks", "aria-hidden": "true" });
  const length = step * counts.length;
  const unit = length > 86_400_000 ? "date" : length < 600_000 ? "seconds" : "clock";
  for (let tick = 0; tick < 5; tick += 1) {
    ticks.append(element("time", "", { datetime: moment(start + length * tick / 4), "data-tick": unit }));
  }
  plot.append(scale, svg, ticks);
  const caption = element("figcaption");
  caption.append(under, element("span", zone(), { class: "zone" }));
  figure.append(plot, caption);
  return figure;
}

function cell(value, [name, kind], index) {
  const label = { "data-label": name };
  if (value === null) return element("td", "–", { class: "none", ...label });
  if (kind !== "time") return element("td", value, { class: kind === "number" ? "number" : index ? "" : "what", ...label });
  const made = element("td", "", { class: "times", ...label });
  made.append(time(value));
  return made;
}

function table({ columns, rows, narrowing }, stack, narrow) {
  const made = element("table", "", { class: "hunted" });
  const head = made.createTHead().insertRow();
  for (const [name, kind] of columns) {
    const heading = element("th", "", { scope: "col", class: kind === "number" ? "number" : "" });
    heading.append(stack && kind !== "time" && name.includes(".") ? stack(name) : name, kind === "time" ? ` ${zone()}` : "");
    head.append(heading);
  }
  const body = made.createTBody();
  body.append(...rows.map((row, number) => {
    const line = element("tr", "", { "data-row": true });
    line.append(...row.map((value, index) => cell(value, columns[index], index)));
    if (narrowing?.[number]) {
      const button = element("button", line.cells[0].textContent, { type: "button", class: "quiet", "data-open": true, title: "Show the events of this group" });
      button.addEventListener("click", () => narrow(narrowing[number]));
      line.cells[0].replaceChildren(button);
    }
    return line;
  }));
  const area = element("div", "", { class: "scrolled", role: "region", tabindex: "0", "aria-label": "Result" });
  area.append(made);
  return area;
}

function csv({ columns, rows }) {
  // A spreadsheet would take some texts for formulas.
  const text = (value) => (/^[=+\-@\t\r\n＝＋－＠]/.test(value) && !/^-?\d+(\.\d+)?$/.test(value) ? `'${value}` : value);
  const field = (value) => `"${element("p", text(value ?? "")).textContent.replaceAll('"', '""')}"`;
  return [columns.map(([name]) => name), ...rows].map((row) => row.map(field).join(",")).join("\r\n");
}

function sentence({ rows, total, is_full: isFull, seconds }, given) {
  const what = given.language === "sql" ? "row" : given.group_by ? "group" : "event";
  const shown = `${rows.length.toLocaleString()} ${what}${rows.length === 1 ? "" : "s"}`;
  const matching = total === undefined || (what === "event" && !isFull) ? "" : `${total.toLocaleString()} event${total === 1 ? "" : "s"} match. `;
  const text = isFull ? `Only the ${what === "event" ? "newest" : "first"} ${shown} are shown` : shown;
  return `${matching}${text}. ${seconds} s.`;
}

function saving(given, area) {
  const box = element("details", "", { class: "part" });
  const summary = element("summary");
  summary.append(element("h2", "Save as a rule"));
  const form = element("form", "", { class: "filters" });
  const label = element("label", "", { class: "grow" });
  label.append(element("span", "Name of the rule"), element("input", "", { name: "name", required: true, maxlength: "100", autocomplete: "off" }));
  const row = element("div", "", { class: "row" });
  row.append(label, element("button", "Write the rule"));
  form.append(row);
  const out = element("div");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const { text, warnings } = await post("/api/hunt/rule", { ...given, name: form.elements.name.value });
      out.replaceChildren(copyable("Rule", text), ...warnings.map(({ message, hint }) => element("p", `Warning: ${message}${hint ? ` (${hint})` : ""}`, { class: "hint" })),
        element("p", "It loads beside the console's rules. Append it to a rule file, and try it with lanner rules test.", { class: "hint" }));
    } catch (error) {
      const problems = error.problems ?? [{ message: error.message }];
      out.replaceChildren(...problems.map(({ message, hint }) => element("p", `${message}${hint ? ` (${hint})` : ""}`, { class: "problem" })));
    }
  });
  box.append(summary, form, out);
  area.append(box);
}

function show(area, value, given, form) {
  const tools = element("div", "", { class: "tools" });
  const link = element("button", "Copy link", { type: "button", class: "plain-button" });
  link.addEventListener("click", () => copy(location.origin + address(given), "The browser doesn't allow it; the address of the page is the link."));
  tools.append(element("p", sentence(value, given), { class: "counts" }), link);
  if (value.rows.length) {
    const data = new Blob([csv(value)], { type: "text/csv" });
    const saved = element("a", "CSV", { class: "button plain-button", download: "hunt.csv", href: URL.createObjectURL(data), title: "Save this table as CSV" });
    tools.append(saved);
  }
  const remarks = element("ul", "", { class: "remarks" });
  const texts = [ENDS[value.end], value.is_cut && "Long texts are cut.", ...value.warnings.map(({ message }) => `Warning: ${message}`), ...value.remarks];
  remarks.append(...texts.filter(Boolean).map((text) => element("li", text)));
  const choose = (...ends) => {
    for (const field of form.querySelectorAll("[data-time]")) field.value = localTime(ends[field.dataset.time === "since" ? 0 : 1]);
    form.querySelector("input[name=until]")?.remove();
    document.getElementById("more").open = true;
    form.requestSubmit();
  };
  const narrow = (condition) => {
    form.elements.q.value = condition;
    for (const name of ["group_by", "rare"]) form.elements[name].value = "";
    form.requestSubmit();
  };
  const stack = given.language === "sql" || given.group_by ? null : (name) => {
    const button = element("button", name, { type: "button", class: "quiet", title: `Stack by ${name}` });
    button.addEventListener("click", () => {
      form.elements.group_by.value = name;
      form.requestSubmit();
    });
    return button;
  };
  area.replaceChildren(...(value.histogram ? [histogram(value.histogram, choose)] : []), tools, remarks,
    ...(value.rows.length ? [table(value, stack, narrow)] : []));
  if (given.language !== "sql") saving(given, area);
  localTimes(area);
}

async function read(answer, given, progress) {
  for await (const [name, value] of events(answer)) {
    if (name === "progress") {
      progress.querySelector("progress").value = value.share;
      progress.querySelector("[data-progress]").textContent = `${value.found.toLocaleString()} found`;
    } else if (name === "failed") {
      throw Object.assign(new Error(value.error), { problems: value.problems.length ? value.problems : [{ message: value.error }] });
    } else return value;
  }
  throw new Error("The stream of results was cut off.");
}

let running = false;

async function hunt(form, area) {
  if (running) {
    say("Your last hunt still runs.");
    return;
  }
  running = true;
  const given = values(form);
  // One step back for each hunt, which is not run again.
  if (location.search !== new URL(address(given), location.href).search) history.pushState(null, "", address(given));
  showProblems([], "");
  const progress = element("p", "", { class: "search-progress" });
  const stop = element("button", "Stop", { type: "button", "data-stop": true });
  stop.addEventListener("click", async () => {
    stop.disabled = true;
    await post("/api/hunt/stop", {}).catch((error) => say(error.message));
  });
  progress.append(element("progress", "", { max: "1", value: "0", "aria-label": "Progress" }), " ", element("span", "Starting.", { "data-progress": true }), " ", stop);
  area.replaceChildren(progress);
  try {
    const headers = { "Content-Type": "application/json", "X-Lanner-Request": "page" };
    const answer = await fetch("/api/hunt", { method: "POST", headers, body: JSON.stringify(given) });
    if (!answer.ok) await jsonOf(answer);
    const value = await read(answer, given, progress);
    show(area, value, given, form);
    say(value.rows.length ? `${value.rows.length.toLocaleString()} rows.` : "Nothing was found.");
  } catch (error) {
    area.replaceChildren();
    showProblems(error.problems ?? [{ message: error.message }], given.q ?? "");
  } finally {
    running = false;
  }
}

// A condition and SQL have different options.
function showOptions(form) {
  const isSql = form.elements.language.value === "sql";
  for (const each of form.querySelectorAll(".of-conditions")) each.hidden = isSql;
}

export function bindHunt() {
  const form = document.querySelector("form[data-hunt]");
  if (!form) return;
  const area = document.getElementById("found");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    hunt(form, area);
  });
  form.addEventListener("change", () => showOptions(form));
  form.elements.q.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  showOptions(form);
}
