// Shows times in the viewer's zone, as in ISO 8601 and to the millisecond. The zone is said beside them; the title is UTC.
const two = (number) => String(number).padStart(2, "0");
const day = (time) => `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;

export function clock(time) {
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

export function zone(time = new Date()) {
  const minutes = -time.getTimezoneOffset();
  if (!minutes) return "UTC";
  const away = Math.abs(minutes);
  return `UTC${minutes < 0 ? "-" : "+"}${two(Math.floor(away / 60))}:${two(away % 60)}`;
}

// In a table, today's times have no date, and the heading states the zone.
function shown(element, time, today) {
  if (element.dataset.tick) return `${element.dataset.tick === "date" ? `${day(time).slice(5)} ` : ""}${clock(time).slice(0, element.dataset.tick === "seconds" ? 8 : 5)}`;
  if (!("bare" in element.dataset)) return `${day(time)} ${clock(time)} ${zone(time)}`;
  const other = zone(time) === zone() ? "" : ` ${zone(time)}`;
  return `${day(time) === today ? "" : `${day(time)} `}${clock(time)}${other}`;
}

// A time range, without what both ends share.
export function range(since, until) {
  const [from, to] = [new Date(since), new Date(until)];
  const end = day(from) === day(to) ? clock(to).slice(0, 8) : `${day(to)} ${clock(to).slice(0, 8)}`;
  return `${day(from)} ${clock(from).slice(0, 8)} to ${end}`;
}

export function localTimes(root) {
  const today = day(new Date());
  for (const element of root.querySelectorAll("time[datetime]:not([data-fine])")) {
    const time = new Date(element.dateTime);
    if (!Number.isNaN(time.getTime())) element.textContent = shown(element, time, today);
  }
  for (const element of root.querySelectorAll("[data-zone]")) element.textContent = zone();
}
