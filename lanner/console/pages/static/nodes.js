// Makes elements from values: attributes and text, never markup.
const fine = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23",
});

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== "" && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

// A time to the millisecond in the viewer's zone; the title is UTC.
export function timeElement(text) {
  const title = `${text.slice(0, 23).replace("T", " ")} UTC`;
  return element("time", { datetime: text, "data-fine": true, title }, fine.format(new Date(text)));
}

export function alertPath(alert) {
  return `/alerts/${encodeURIComponent(alert.id)}`;
}

export function alertLink(alert) {
  return element("a", { href: alertPath(alert) }, `${alert.priority}: ${alert.rule}`);
}
