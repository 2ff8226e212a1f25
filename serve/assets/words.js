// Numbers and times formatted for people.

/** `12.3/s` */
export function rate(perSecond) {
  return `${perSecond.toFixed(perSecond < 100 ? 1 : 0)}/s`;
}

/** `4.1 ms`, `1.2 s`; `–` if unknown. */
export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
}

/** `4.1 s`, `37 s`, `12 min` */
export function seconds(s) {
  if (s >= 600) return `${Math.round(s / 60)} min`;
  return `${s.toFixed(s < 10 ? 1 : 0)} s`;
}

/** `37 %` */
export function share(part) {
  return `${Math.round(part * 100)} %`;
}

/** `1 234 567` */
export function count(number) {
  return number.toLocaleString("en").replaceAll(",", "\u202f");
}

/** `1 stream`, `2 streams` */
export function counted(number, what) {
  return `${count(number)} ${what}${number === 1 ? "" : "s"}`;
}

/** Shortens a name, keeping its beginning and end, since similar names differ in one of them. */
export function shortened(name, most) {
  const letters = [...name];
  if (letters.length <= most) return name;
  const begin = Math.floor(most / 2);
  return `${letters.slice(0, begin).join("")}…${letters.slice(letters.length - (most - begin - 1)).join("")}`;
}

/** `2 working, 1 waiting` */
export function states(byState) {
  const parts = Object.entries(byState).map(([state, instances]) => `${instances} ${state}`);
  return parts.length === 1 && parts[0].startsWith("1 ") ? parts[0].slice(2) : parts.join(", ");
}

/** Formats seconds since 1970 as the time of day. */
export function timeOfDay(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

/** The packets dropped on an edge, by cause: `12 (full 10, old 2)`. */
export function dropped(byCause) {
  const causes = Object.entries(byCause);
  const sum = causes.reduce((sum, [, packets]) => sum + packets, 0);
  if (sum === 0) return "0";
  return `${count(sum)} (${causes.map(([cause, packets]) => `${cause} ${count(packets)}`).join(", ")})`;
}

/** Makes an element with attributes and children. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Changes a text only if it differs, so that a screen reader does not repeat it. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
