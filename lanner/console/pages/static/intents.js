// Actions: approve, reject, undo, extend, stop all; and act by hand on what an alert is about, after showing what that would hit.
import { ask, jsonOf, post, refresh, say } from "./page.js";

function confirmed(name, question, facts = []) {
  const dialog = document.getElementById("intent");
  const title = name[0].toUpperCase() + name.slice(1);
  dialog.querySelector("h2").textContent = `${title}?`;
  dialog.querySelector("[data-question]").textContent = question;
  dialog.querySelector("[value=yes]").textContent = title;
  const rows = facts.flatMap(([label, text]) => {
    const term = document.createElement("dt");
    const value = document.createElement("dd");
    term.textContent = label;
    value.textContent = text;
    return [term, value];
  });
  dialog.querySelector("dl").replaceChildren(...rows);
  return ask(dialog);
}

async function send(path, body, done) {
  try {
    const answer = await post(path, body);
    say(answer.action ? `${done}: ${answer.action.state}.` : `${done}.`);
  } catch (error) {
    say(error.message);
  }
  try {
    await refresh();
  } catch (error) {
    say(`The page could not be read again: ${error.message}`);
  }
}

async function decide({ decide: type, id, question }) {
  if (await confirmed(type, question) === "yes") await send("/api/actions/decide", { id, type }, "Stored");
}

async function decideAll({ all: type, policy = "", question }) {
  if (await confirmed(type, question) === "yes") await send("/api/actions/all", { type, policy }, "Stored");
}

// Lists what may be done by hand, each as a button that shows what it would hit.
async function list(button) {
  const path = button.dataset.hand;
  const place = document.getElementById("by-hand");
  try {
    const found = await jsonOf(await fetch(path, { headers: { Accept: "application/json" } }));
    const buttons = found.actions.map((each) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = `${each.type} ${each.text}…`;
      made.disabled = Boolean(found.missing);
      made.addEventListener("click", async () => {
        const { type, target } = each;
        if (await confirmed(type, "It would hit:", each.radius) === "yes") await send(path, { type, target }, "Requested");
      });
      return made;
    });
    const refused = found.refused.map(({ type, target, why }) => `${type} ${target}: ${why}.`);
    place.replaceChildren(...buttons);
    for (const text of [found.missing, ...refused].filter(Boolean)) {
      const line = document.createElement("p");
      line.className = "hint";
      line.textContent = text;
      place.append(line);
    }
  } catch (error) {
    say(error.message);
  }
}

export function bindIntents() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-decide], [data-all], [data-hand]");
    if (!button) return;
    if (button.dataset.decide) decide(button.dataset);
    else if (button.dataset.all) decideAll(button.dataset);
    else list(button);
  });
}
