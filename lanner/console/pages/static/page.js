// Reads the page again and replaces its content; focus and selection stay on the same rows.
import { localTimes } from "./times.js";

const policy = globalThis.trustedTypes?.createPolicy("lanner", { createHTML: (text) => text });

export function say(text) {
  const status = document.getElementById("status");
  status.textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { status.textContent = ""; }, 5000);
}

// Copies a text; otherwise says what else to do.
export async function copy(text, otherwise) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say(otherwise);
  }
}

export function bindCopying() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button.dataset.copy, "The browser doesn't allow it; select the text.");
  });
}

// The JSON of an answer. Throws what the console says if it is an error.
export async function jsonOf(answer) {
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.error ?? `the console answers ${answer.status}`), { problems: body.problems });
  return body;
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json", "X-Lanner-Request": "page" };
  return jsonOf(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

// Opens a dialog; returns the value of the button that closes it.
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

export function rows() {
  return [...document.querySelectorAll("tr[data-row]")];
}

export function currentRow() {
  return document.activeElement?.closest?.("tr[data-row]") ?? null;
}

export async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
  if (!answer.ok) throw new Error(`the console answers ${answer.status}`);
  // The server escaped every value; nothing in the new document runs before it is taken over, and the policy forbids inline scripts.
  const text = await answer.text();
  const page = new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");
  localTimes(page);
  // On every page, how current detection is.
  const bar = page.getElementById("freshness");
  if (bar) document.getElementById("freshness")?.replaceWith(bar);
  const fresh = page.getElementById("content");
  const old = document.getElementById("content");
  if (!fresh || !old) return;
  const row = currentRow();
  const focused = row?.dataset.key;
  const index = rows().indexOf(row);
  const selected = new Set([...document.querySelectorAll("tr.selected")].map((row) => row.dataset.key));
  const draft = old.querySelector("textarea")?.value;
  for (const each of fresh.querySelectorAll("tr[data-row]")) {
    if (selected.has(each.dataset.key)) each.classList.add("selected");
  }
  // Parts that were read on demand stay.
  const active = document.activeElement;
  for (const part of old.querySelectorAll("[data-keep]")) fresh.querySelector(`[data-keep="${part.dataset.keep}"]`)?.replaceWith(part);
  for (const each of old.querySelectorAll("details[id][open]")) fresh.querySelector(`#${CSS.escape(each.id)}`)?.setAttribute("open", "");
  const address = old.contains(active) && !row ? active.getAttribute("href") : null;
  old.replaceWith(fresh);
  if (fresh.contains(active)) active.focus({ preventScroll: true });
  else if (address) fresh.querySelector(`a[href="${CSS.escape(address)}"]`)?.focus({ preventScroll: true });
  if (draft) fresh.querySelector("textarea").value = draft;
  if (row) {
    // A row that left the list, as one that was acknowledged, passes the focus on to the one that took its place.
    const left = rows();
    const next = left.find((each) => each.dataset.key === focused) ?? left[Math.min(index, left.length - 1)];
    (next?.querySelector("[data-open]") ?? document.getElementById("main")).focus({ preventScroll: true });
  }
  document.dispatchEvent(new Event("lanner:content"));
}
