// Dead letters: choose some, confirm, replay.
import { ask, post, refresh, say } from "./page.js";

const boxes = () => [...document.querySelectorAll("input[name=letter]")];

function confirmed(count) {
  const dialog = document.getElementById("replay");
  const letters = count === 1 ? "one dead letter again to where it was" : `${count} dead letters again to where they were`;
  dialog.querySelector("[data-question]").textContent = `Send ${letters} refused? People may get alerts of days ago.`;
  return ask(dialog);
}

async function replay() {
  const ids = boxes().filter((box) => box.checked).map((box) => box.value);
  if (!ids.length) {
    say("Choose dead letters first.");
    return;
  }
  if (await confirmed(ids.length) !== "yes") return;
  try {
    const body = await post("/api/dead-letters/replay", { ids });
    say(body.problem ? `${body.replayed.length} of ${ids.length} were replayed: ${body.problem}` : `${ids.length} replayed.`);
    await refresh();
  } catch (error) {
    say(`They were not replayed: ${error.message}`);
  }
}

export function bindPipeline() {
  document.addEventListener("click", (event) => {
    if (event.target.matches("[data-replay]")) replay();
    if (event.target.matches("[data-choose]")) {
      const all = boxes();
      const check = all.some((box) => !box.checked);
      for (const box of all) box.checked = check;
    }
  });
}
