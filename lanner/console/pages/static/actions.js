// Decisions: acknowledge, assign, mute, comment. Each is one request; the page is read again afterwards.
import { ask, currentRow, post, refresh, say } from "./page.js";

export const decide = (subject, action, value = "") => post("/api/marks", { subject, action, value });

// What an action applies to: the selected rows, else the row in focus, else the page's own group.
function targets() {
  const selected = [...document.querySelectorAll("tr.selected[data-subject]")];
  const row = currentRow();
  if (selected.length) return selected;
  if (row?.dataset.subject) return [row];
  return [...document.querySelectorAll(".actions[data-subject]")];
}

export async function act(action, elements = targets()) {
  if (document.body.dataset.role !== "analyst") {
    say("Only analysts may do this.");
    return;
  }
  if (!elements.length) {
    say("Choose a row first, with j and k.");
    return;
  }
  const time = action === "mute" ? await ask(document.getElementById("mute")) : "";
  if (action === "mute" && !time) return;
  // Several are reopened only if all of them are acknowledged.
  const reopens = elements.every((element) => element.dataset.state === "acknowledged");
  const values = { mute: time, assign: document.body.dataset.name };
  const problems = [];
  for (const element of elements) {
    const { subject, last } = element.dataset;
    try {
      if (action === "acknowledge") await (reopens ? decide(subject, "reopen") : decide(subject, action, last));
      else await decide(subject, action, values[action]);
      element.classList.remove("selected");
    } catch (error) {
      problems.push(error.message);
    }
  }
  const done = elements.length - problems.length;
  const text = !done ? "" : elements.length === 1 ? "Done." : `Done for ${done} groups. `;
  say(problems.length ? `${text}${problems.length === 1 ? "This was" : `${problems.length} were`} not stored: ${problems[0]}` : text.trim());
  try {
    await refresh();
  } catch (error) {
    say(`The page could not be read again: ${error.message}`);
  }
}

export function bindActions() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-action]");
    if (button) act(button.dataset.action, [button.closest("[data-subject]")]);
  });
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-comment]");
    if (!form) return;
    event.preventDefault();
    const text = form.elements.comment;
    try {
      await decide(form.dataset.comment, "comment", text.value);
      text.value = "";
      say("The comment was added.");
      await refresh();
    } catch (error) {
      say(`The comment was not stored: ${error.message}`);
    }
  });
}
