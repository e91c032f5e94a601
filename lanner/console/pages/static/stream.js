// What pages that read much while they show it have in common: the stream, the texts of hosts, and errors of conditions.
import { element as plain } from "./nodes.js";

// Controls and direction marks become visible, as on pages of the server.
const SPECIAL = /[\p{Cc}\p{Cf}\u2028\u2029\p{Cs}]/gu;
export const visible = (value) => String(value).replace(SPECIAL, (char) => {
  const code = char.codePointAt(0).toString(16);
  return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
});

export const element = (name, text = "", attributes = {}) => plain(name, attributes, visible(text));

export function time(text) {
  return element("time", text.slice(0, 23).replace("T", " "), { datetime: text, title: `${text.replace("T", " ").replace("Z", "")} UTC`, "data-bare": true });
}

// A stream of server-sent events as [name, value] pairs. EventSource would repeat what ended.
export async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const found = /^event: (\w+)\ndata: (.*)$/.exec(part);
      if (found) yield [found[1], JSON.parse(found[2])];
    }
  }
}

export function showProblems(problems, query) {
  const lines = query.split("\n");
  document.getElementById("problems").replaceChildren(...problems.flatMap(({ message, hint, line, column, width }) => {
    const place = line ? [element("pre", `${lines[line - 1] ?? ""}`)] : [];
    if (line) place[0].append("\n", `${" ".repeat(column - 1)}${"^".repeat(Math.max(width, 1))}`);
    const where = `${lines.length > 1 && line ? `line ${line}, ` : ""}${line ? `column ${column}: ` : ""}`;
    return [...place, element("p", `${where}${message}${hint ? ` (${hint})` : ""}`, { class: "problem" })];
  }));
}
