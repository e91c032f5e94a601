// Draws what an alert's rule says about it: the explained condition, and texts to copy.
import { element } from "./nodes.js";
import { copy } from "./page.js";

const OPEN = new Set(["and", "or", "not"]);

const MOST_VALUES = 8;

// A list of many names would bury the checks beside it: its rest is folded.
function checkNodes(text) {
  const values = text.split(", ");
  if (values.length <= MOST_VALUES + 2) return [element("code", {}, text)];
  const rest = values.slice(MOST_VALUES);
  return [element("code", {}, `${values.slice(0, MOST_VALUES).join(", ")}, …`), " ",
    element("details", { class: "rest" }, element("summary", {}, `${rest.length.toLocaleString()} more`), element("span", {}, rest.join(", ")))];
}

function checkText(check) {
  return [element("span", { class: `verdict ${check.verdict}` }, check.verdict), " ",
    ...(check.kind === "check" ? checkNodes(check.text) : [element("span", {}, check.text)])];
}

function drawChecks(checks) {
  const top = element("ul", { class: "tree" });
  const hasChildren = new Set(checks.map((check) => check.parent));
  const lists = checks.map(() => null);
  checks.forEach((check, index) => {
    const item = element("li", { class: check.decides ? "decides" : "" });
    if (hasChildren.has(index)) {
      lists[index] = element("ul", {});
      const isOpen = OPEN.has(check.kind) || (check.decides && check.verdict !== "true");
      item.append(element("details", { open: isOpen }, element("summary", {}, ...checkText(check)), lists[index]));
    } else item.append(...checkText(check));
    (lists[check.parent] ?? top).append(item);
  });
  return top;
}

export function drawExplanation(found) {
  const nodes = [element("p", {}, element("b", {}, found.rule), found.file ? ` (${found.file}) ` : " ", found.sentence)];
  if (!found.checks.length) return nodes;
  if (!found.is_whole) nodes.push(element("p", { class: "remark" }, "The event is not retained: this is what the alert's own fields say, and other fields are unknown."));
  if (found.answer === "does not match") nodes.push(element("p", { class: "remark" }, "The alert was raised by the rule as it was then; this console has another version of it, or of its macros and lists."));
  for (const name of found.stateful) nodes.push(element("p", { class: "hint" }, `${name} counts events: true means that this event counts, not that the threshold is reached.`));
  nodes.push(element("details", {}, element("summary", {}, "The condition as written"), element("pre", {}, found.condition)),
    element("p", { class: "hint" }, "What decided it is emphasized."), drawChecks(found.checks));
  return nodes;
}

export function copyable(label, text) {
  const area = element("textarea", { readonly: true, rows: String(Math.min(text.split("\n").length + 1, 24)), "aria-label": label, spellcheck: "false" });
  area.value = text;
  const button = element("button", { type: "button" }, "Copy");
  button.addEventListener("click", () => {
    area.select();
    copy(text, "It is selected; copy it with Ctrl+C.");
  });
  return element("div", { class: "copyable" }, area, button);
}

export function drawTest(found) {
  if (!found.text) return [element("p", { class: "problem" }, found.problem)];
  return [element("p", {}, "Append it to NAME_test.yaml beside the rule's file NAME.yaml, and run ", element("code", {}, "lanner rules test"), ". Comments in it state what the alert doesn't tell."),
    copyable("Rule test", found.text)];
}
