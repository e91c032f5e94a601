// The entry of the pages' scripts. The pages work without them, except for decisions and live updates.
import { bindActions } from "./actions.js";
import { bindBrush } from "./brush.js";
import { bindKeys } from "./keys.js";
import { bindLive } from "./live.js";
import { bindSearch } from "./search.js";
import { bindStory } from "./story.js";
import { localTimes } from "./times.js";

localTimes(document);
bindActions();
bindBrush();
bindLive();
bindKeys();
bindSearch();
bindStory();

// Empty filters are left out of the address.
document.getElementById("filters")?.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) {
    if (value === "") event.formData.delete(name);
  }
});
document.querySelectorAll("#filters select").forEach((select) => {
  select.addEventListener("change", () => {
    if (select.name === "since") select.form.querySelector("[name=until]")?.remove();
    select.form.requestSubmit();
  });
});

// Names to choose from, once somebody looks at the filters.
document.getElementById("more")?.addEventListener("focusin", async () => {
  const answer = await fetch("/api/names");
  if (!answer.ok) return;
  for (const [name, values] of Object.entries(await answer.json())) {
    const options = values.map((value) => Object.assign(document.createElement("option"), { value }));
    document.getElementById(`names-${name}`)?.replaceChildren(...options);
  }
}, { once: true });
