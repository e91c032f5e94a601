// Saved views: names of addresses of the list, in this browser. Each is a link that works for everybody.
import { element } from "./nodes.js";
import { say } from "./page.js";

const PLACE = "lanner-views";
const MOST = 30;
const LONGEST = 60;
const LONGEST_QUERY = 2000;

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    return found.filter((each) => typeof each?.name === "string" && typeof each?.query === "string").slice(0, MOST);
  } catch {
    return [];
  }
}

function write(views) {
  try {
    localStorage.setItem(PLACE, JSON.stringify(views));
    return true;
  } catch {
    say("This browser stores nothing; the address of the page is its link.");
    return false;
  }
}

function draw(area) {
  const items = read().map(({ name, query }) => {
    const remove = element("button", { type: "button", class: "quiet", "aria-label": `Remove the view ${name}` }, "×");
    remove.addEventListener("click", () => {
      write(read().filter((each) => each.name !== name));
      draw(area);
      area.querySelector("summary").focus();
    });
    return element("li", {}, element("a", { href: `/?${query}` }, name), " ", remove);
  });
  area.querySelector("[data-views]").replaceChildren(...(items.length ? items : [element("li", { class: "hint" }, "None yet.")]));
}

function bind() {
  const area = document.getElementById("views");
  if (!area?.hidden) return;
  area.hidden = false;
  const field = area.querySelector("[data-view-name]");
  const save = () => {
    const name = field.value.trim().slice(0, LONGEST);
    const query = new URLSearchParams(location.search);
    query.delete("offset");
    query.set("view", name);
    if (!name) say("Give it a name first.");
    else if (query.toString().length > LONGEST_QUERY) say("This view is too long to be saved; copy the address instead.");
    else if (write([{ name, query: query.toString() }, ...read().filter((each) => each.name !== name)].slice(0, MOST))) {
      history.replaceState(null, "", `/?${query}`);
      field.value = "";
      draw(area);
      say(`Saved. The address is the link to ${name}.`);
    }
  };
  area.querySelector("[data-view-save]").addEventListener("click", save);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    save();
  });
  draw(area);
}

export function bindViews() {
  // The list of an empty console has none until the first alert comes.
  document.addEventListener("lanner:content", bind);
  bind();
}
