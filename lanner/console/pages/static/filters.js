// The filters of the list. The address holds those that are set; choosing from a list shows the result in place.
import { refresh, say } from "./page.js";

// A time in the viewer's zone, as fields for times hold it.
export function localTime(text) {
  const time = new Date(text);
  if (!/^\d{4}-/.test(text) || Number.isNaN(time.getTime())) return "";
  return new Date(time.getTime() - time.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
}

let changed = null;

async function show(form, select) {
  const address = `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;
  // Several steps in one list are one step back.
  history[select === changed ? "replaceState" : "pushState"](null, "", address);
  changed = select;
  try {
    await refresh();
    say(document.querySelector("#content .counts")?.textContent ?? "Nothing matches.");
  } catch (error) {
    say(`The page could not be read again: ${error.message}`);
  }
}

// Names to choose from, once somebody looks at the filters.
async function readNames() {
  const answer = await fetch("/api/names");
  if (!answer.ok) return;
  for (const [name, values] of Object.entries(await answer.json())) {
    const options = values.map((value) => Object.assign(document.createElement("option"), { value }));
    document.getElementById(`names-${name}`)?.replaceChildren(...options);
  }
}

export function bindFilters() {
  const form = document.getElementById("filters");
  if (!form) return;
  const fields = form.querySelectorAll("[data-time]");
  for (const field of fields) {
    field.value = localTime(new URLSearchParams(location.search).get(field.dataset.time) ?? "");
  }
  form.addEventListener("formdata", ({ formData }) => {
    for (const field of fields) {
      if (field.value) formData.set(field.dataset.time, new Date(field.value).toISOString());
    }
    for (const [name, value] of [...formData]) {
      if (value === "") formData.delete(name);
    }
  });
  for (const select of form.querySelectorAll("select")) {
    select.addEventListener("change", () => {
      if (select.name === "since") {
        form.querySelector("[name=until]")?.remove();
        for (const field of fields) field.value = "";
      }
      // A search of events reads much, so it waits for its button.
      if (document.getElementById("content")) show(form, select);
    });
  }
  for (const field of fields) {
    field.addEventListener("change", () => form.querySelector(`input[name="${field.dataset.time}"]`)?.remove());
  }
  addEventListener("popstate", () => location.reload());
  document.getElementById("more")?.addEventListener("focusin", readNames, { once: true });
}
