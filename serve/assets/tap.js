// The last packets of one edge, in short.

import { element, milliseconds, say } from "./words.js";

/** Rows that are shown. */
const MOST_ROWS = 20;

export class TapTable {
  #edge = null;

  /** @param {(message: object) => void} tell says something to the run */
  constructor(tell, changed) {
    this.tell = tell;
    this.changed = changed;
    this.root = document.getElementById("tap");
    this.title = document.getElementById("tap-title");
    this.rows = document.getElementById("tapped");
    document.getElementById("tap-close").onclick = () => this.choose(null);
  }

  /** The graph's edges, after which edges are named. The same edge is looked at again after the connection was lost. */
  begin(edges) {
    this.edges = edges;
    if (this.#edge !== null) this.tell({ tap: this.#edge });
  }

  /** Looks at an edge; the same one again, or null, at none. */
  choose(number) {
    this.#edge = number === this.#edge ? null : number;
    const edge = this.edges[this.#edge];
    this.rows.replaceChildren();
    this.root.hidden = !edge;
    if (edge) say(this.title, `${edge.from}.${edge.output} → ${edge.to}.${edge.input}`);
    this.tell({ tap: this.#edge });
    this.changed(this.#edge);
  }

  show({ edge, packets }) {
    if (edge !== this.#edge) return;
    const rows = packets.map((packet) =>
      element(
        "tr",
        {},
        element("td", {}, packet.stream),
        element("td", {}, `${packet.sequence}`),
        element("td", {}, `${packet.at_s.toFixed(2)} s`),
        element("td", {}, milliseconds(packet.age_ms)),
        element("td", {}, packet.carries),
      ),
    );
    this.rows.prepend(...rows.reverse());
    while (this.rows.children.length > MOST_ROWS) this.rows.lastChild.remove();
  }
}
