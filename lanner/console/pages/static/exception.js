// Draws a proposed exception: the fields to choose from, the text, and what it would have quieted.
import { element, timeElement } from "./nodes.js";
import { copyable } from "./rule.js";

function drawChoice({ field, operator, value }, chosen, part) {
  const box = element("input", { type: "checkbox", value: field, checked: chosen.includes(field) });
  box.addEventListener("change", () => {
    const fields = [...part.querySelectorAll("[data-choices] :checked")].map((each) => each.value);
    part.querySelector("[name=fields]").value = fields.join(",");
    part.querySelector("form").requestSubmit();
  });
  return element("li", {}, element("label", {}, box, " ", field, ` ${operator} `, element("code", {}, value)));
}

function drawMarked(marked) {
  const [kind, id] = marked.subject.split(/:(.*)/s);
  const path = `/${kind === "group" ? "groups" : "alerts"}/${encodeURIComponent(id)}`;
  const count = kind === "group" ? `${marked.count.toLocaleString()} of a group, the newest on ${marked.host}` : `on ${marked.host}`;
  return element("li", {}, element("a", { href: path }, timeElement(marked.time), ` ${count}`), element("p", { class: "sample" }, marked.output),
    element("ul", {}, ...marked.marks.map((text) => element("li", {}, text))));
}

export function drawException(found, part) {
  const nodes = [
    element("fieldset", { "data-choices": true }, element("legend", {}, "Alerts of this rule are excluded where all of these hold"),
      element("ul", { class: "choices" }, ...found.choices.map((choice) => drawChoice(choice, found.chosen, part)))),
  ];
  if (!found.text) return [...nodes, element("p", { class: "hint" }, "Nothing is proposed: the alert doesn't name a program or an image together with what it did. Choose what it goes by.")];
  nodes.push(element("p", {}, "It would have quieted ", element("b", {}, `${found.quieted.toLocaleString()} of ${found.checked.toLocaleString()}`),
      " alerts of this rule", found.is_partial ? " since " : ".", ...(found.is_partial ? [timeElement(found.since), "; earlier ones were not looked at."] : [])));
  if (found.marked.length) {
    nodes.push(element("p", { class: "remark" }, "Among them are others that people looked at:"), element("ul", { class: "marks" }, ...found.marked.map(drawMarked)));
    if (found.more_marked) nodes.push(element("p", { class: "hint" }, `and ${found.more_marked.toLocaleString()} more`));
  } else nodes.push(element("p", { class: "hint" }, "None of the others was acknowledged, assigned or commented on."));
  nodes.push(element("p", { class: found.is_harmful ? "problem" : "" }, found.proof));
  const text = [element("p", {}, "Add it to a rule file that is loaded after the rule's own:"), copyable("Exception", found.text)];
  nodes.push(...(found.is_harmful ? [element("details", {}, element("summary", {}, "Show it nevertheless"), ...text)] : text));
  return nodes;
}
