// The events of the run, newest first.

import { element, timeOfDay } from "./words.js";

const MOST_ENTRIES = 200;

export class Journal {
  #last = 0;

  constructor(root) {
    this.root = root;
  }

  /** Resets the counter for a new run. */
  begin() {
    this.#last = 0;
    this.root.replaceChildren();
  }

  show(entries) {
    for (const entry of entries.filter((entry) => entry.number > this.#last)) {
      this.#last = entry.number;
      const time = element("time", { datetime: new Date(entry.at_s * 1000).toISOString() }, timeOfDay(entry.at_s));
      this.root.prepend(element("li", { "data-kind": entry.kind }, time, ` ${entry.text}`));
    }
    while (this.root.children.length > MOST_ENTRIES) this.root.lastChild.remove();
  }
}
