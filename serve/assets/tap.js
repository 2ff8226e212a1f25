// The last packets of one edge, one line each.

import { element, milliseconds, say } from "./words.js";

/** Maximum number of rows shown. */
const MOST_ROWS = 20;

export class TapTable {
  #edge = null;

  /** @param {(message: object) => void} tell sends a message to the run */
  constructor(tell, changed) {
    this.tell = tell;
    this.changed = changed;
    this.root = document.getElementById("tap");
    this.title = document.getElementById("tap-title");
    this.rows = document.getElementById("tapped");
    document.getElementById("tap-close").onclick = () => this.choose(null);
  }

  /** Sets the graph's edges, by which edges are named. After a lost connection, the same edge is tapped again. */
  begin(edges) {
    this.edges = edges;
    if (this.#edge !== null) this.tell({ tap: this.#edge });
  }

  /** Taps an edge; the same one again, or null, ends the tap. */
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
