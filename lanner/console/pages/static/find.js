// Finds text in a story, opens what is folded, and goes to the event of the alert.
import { element } from "./nodes.js";

function open(line) {
  for (let at = line.parentElement; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
}

function goTo(line) {
  open(line);
  line.scrollIntoView({ block: "center" });
}

export function drawTools({ is_found: isFound }) {
  const count = element("span", { class: "hint", role: "status" });
  const field = element("input", { type: "search", "data-find": true, "aria-label": "Find in the story", placeholder: "Find a file, program, address …", maxlength: "200" });
  const all = element("button", { type: "button", "data-unfold": true, "aria-pressed": "false" }, "Unfold all");
  const tools = element("div", { class: "find" }, field, count, all);
  if (isFound) tools.prepend(element("button", { type: "button", "data-jump": true }, "Jump to this alert"));
  return tools;
}

// Marks the lines with a text, and opens where they are.
function find(part, field) {
  const text = field.value.trim().toLowerCase();
  for (const line of part.querySelectorAll(".found")) line.classList.remove("found", "current");
  const lines = text ? [...part.querySelectorAll("[data-line]")].filter((line) => line.textContent.toLowerCase().includes(text)) : [];
  for (const line of lines) {
    line.classList.add("found");
    open(line);
  }
  field.nextSibling.textContent = text ? `${lines.length.toLocaleString()} line${lines.length === 1 ? "" : "s"}${lines.length ? "; Enter shows the next" : ""}` : "";
}

function next(part) {
  const lines = [...part.querySelectorAll(".found")];
  if (!lines.length) return;
  const at = lines.findIndex((line) => line.classList.contains("current"));
  lines[at]?.classList.remove("current");
  const line = lines[(at + 1) % lines.length];
  line.classList.add("current");
  goTo(line);
}

export function bindFind() {
  document.addEventListener("input", ({ target }) => { if (target.matches("[data-find]")) find(target.closest("[data-part]"), target); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !event.target.matches("[data-find]")) return;
    event.preventDefault();
    next(event.target.closest("[data-part]"));
  });
  document.addEventListener("click", ({ target }) => {
    if (target.matches("[data-jump]")) {
      const line = target.closest("[data-part]").querySelector(".trigger");
      goTo(line);
      line.focus({ preventScroll: true });
    } else if (target.matches("[data-unfold]")) {
      const isOpen = target.getAttribute("aria-pressed") === "true";
      for (const each of target.closest("[data-part]").querySelectorAll("details.more, details.process")) each.open = each.matches(".more") ? !isOpen : true;
      target.setAttribute("aria-pressed", String(!isOpen));
      target.textContent = isOpen ? "Unfold all" : "Fold again";
    }
  });
}
