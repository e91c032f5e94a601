// Shows what a search finds while it runs. Everything is text that somebody on a host chose, and is added as text only.
import { jsonOf, say } from "./page.js";
import { element, events, showProblems, time } from "./stream.js";
import { localTimes } from "./times.js";

function row({ time: at, fields }) {
  const server = fields["fd.sip.name"] ?? fields["fd.cip.name"], question = fields["dns.question.name"], requested = fields["tls.client.server_name"];
  const named = requested ? `${requested} (TLS) at ${fields["fd.sip"] ?? "?"}` : fields["fd.name"] ?? fields["fs.path.name"] ?? "";
  const target = question ? `${question}: ${fields["dns.answers"] ?? fields["dns.response_code"] ?? ""}` : named;
  const name = server && !question ? `${target}, looked up as ${server}` : target;
  const made = element("tr", "", { "data-row": true, "data-key": `${fields["evt.hostname"]} ${fields["batch.sequence"]} ${fields["evt.num"]}` });
  const when = element("td", "", { class: "times" });
  when.append(time(at));
  const what = element("td", "", { class: "what" });
  const details = element("details");
  const process = `${fields["proc.name"] ?? "?"}(${fields["proc.pid"] ?? "?"})`;
  const summary = element("summary", `${process} ${fields["evt.type"]} ${name}`, { "data-open": true });
  if (fields["evt.failed"]) summary.append(" ", element("span", `failed: ${fields["evt.res"] ?? "unknown error"}`, { class: "badge p4" }));
  details.append(summary);
  // Most are never opened.
  details.addEventListener("toggle", () => {
    const list = element("dl", "", { class: "facts" });
    for (const [key, value] of Object.entries(fields)) {
      list.append(element("dt", key), element("dd", typeof value === "object" ? JSON.stringify(value) : value));
    }
    details.append(list);
  }, { once: true });
  what.append(details, element("p", fields["proc.cmdline"] ?? "", { class: "sample" }));
  const container = fields["container.name"] ?? "";
  made.append(
    when,
    element("td", fields["evt.hostname"] + (container && container !== "host" ? ` / ${container}` : ""), { "data-label": "host" }),
    element("td", fields["user.name"] ?? fields["user.uid"] ?? "", { "data-label": "user" }),
    what,
  );
  localTimes(made);
  return made;
}

const ENDS = {
  complete: "All of it was searched.",
  results: "There are more: only the newest are shown.",
  bytes: "It stopped after reading much.",
  time: "It stopped after searching for long.",
  stopped: "It was stopped.",
};

function showProgress(area, { share, looked_at: count, found, searched_to: to }) {
  area.querySelector("progress").value = share;
  const text = area.querySelector("[data-progress]");
  text.textContent = `${found.toLocaleString()} found in ${count.toLocaleString()} events`;
  if (to) {
    const back = time(to);
    delete back.dataset.bare;
    text.append(", back to ", back);
    localTimes(text);
  }
}

function remark(area, text, href = "") {
  const item = element("li", href ? "" : text);
  if (href) item.append(element("a", text, { href }));
  area.querySelector("[data-remarks]").append(item);
}

async function run(area, signal) {
  const query = area.dataset.query;
  const answer = await fetch(`/api/search?${query}`, { signal });
  if (!answer.ok) {
    const error = await jsonOf(answer).catch((each) => each);
    showProblems(error.problems ?? [{ message: error.message }], new URLSearchParams(query).get("q"));
    return "";
  }
  const table = area.querySelector("table");
  for await (const [name, value] of events(answer)) {
    if (name === "failed") {
      showProblems([{ message: value.error }], "");
      return "The search failed.";
    }
    if (name === "found") {
      table.tBodies[0].append(...value.events.map(row));
      table.hidden = false;
      continue;
    }
    showProgress(area, value);
    if (name === "end") {
      value.warnings.forEach(({ message }) => remark(area, `Warning: ${message}`));
      value.remarks.forEach((text) => remark(area, text));
      if (value.older) remark(area, "Search further back", value.older);
      if (value.reason === "complete") area.querySelector("progress").value = 1;
      return ENDS[value.reason];
    }
  }
  return "The stream of results was cut off.";
}

export async function bindSearch() {
  const area = document.getElementById("search");
  if (!area) return;
  const stop = new AbortController();
  const button = area.querySelector("[data-stop]");
  button.addEventListener("click", () => stop.abort());
  let end;
  try {
    end = await run(area, stop.signal);
  } catch (error) {
    end = stop.signal.aborted ? ENDS.stopped : `The search was cut off: ${error.message}`;
  }
  button.remove();
  const text = area.querySelector("[data-progress]");
  if (!end) area.querySelector(".search-progress").remove();
  else text.prepend(`${end} `);
  if (end) say(end);
}
