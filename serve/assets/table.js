// Nodes and edges as tables: what the drawing shows, for those who cannot see it and for those who copy numbers.

import { count, dropped, element, milliseconds, rate, say, share, states } from "./words.js";

const NODE_COLUMNS = {
  Node: (node) => node.name,
  Actor: (node) => node.actor,
  State: (node) => states(node.states),
  Rate: (node) => rate(node.processed_per_s),
  Processed: (node) => count(node.processed),
  "Mean call": (node) => milliseconds(node.service_ms),
  "p99 call": (node) => milliseconds(node.service_p99_ms),
  Busy: (node) => share(node.busy),
  Blocked: (node) => share(node.blocked),
  Batches: (node) => (node.batches ? `${node.batches.mean.toFixed(1)} of ${node.batches.max}, ${share(node.batches.occupancy)} full` : "–"),
  Failed: (node) => count(node.failed),
  Restarts: (node) => count(node.restarts),
};

const EDGE_COLUMNS = {
  Edge: (edge) => `${edge.from} → ${edge.to}`,
  Waiting: (edge) => `${edge.depth} of ${edge.capacity}`,
  Fullest: (edge) => (edge.fullest ? `${share(edge.fullness)} (${edge.fullest})` : "–"),
  Rate: (edge) => rate(edge.sent_per_s),
  Dropped: (edge) => dropped(edge.dropped),
  "When full": (edge) => (edge.drops ? "drops" : "waits"),
};

class Table {
  constructor(caption, columns) {
    this.columns = columns;
    const heads = Object.keys(columns).map((name) => element("th", { scope: "col" }, name));
    this.body = element("tbody");
    const table = element("table", {}, element("caption", {}, caption), element("thead", {}, element("tr", {}, ...heads)), this.body);
    this.root = element("div", { class: "scroll" }, table);
  }

  update(things) {
    while (this.body.rows.length > things.length) this.body.lastChild.remove();
    things.forEach((thing, index) => {
      const row = this.body.rows[index] ?? this.body.appendChild(this.#row());
      Object.values(this.columns).forEach((word, column) => say(row.cells[column], word(thing)));
    });
  }

  #row() {
    const cells = Object.keys(this.columns).map((_, column) =>
      column === 0 ? element("th", { scope: "row" }) : element("td"),
    );
    return element("tr", {}, ...cells);
  }
}

export class Tables {
  constructor(root) {
    this.nodes = new Table("Nodes", NODE_COLUMNS);
    this.edges = new Table("Edges", EDGE_COLUMNS);
    root.append(this.nodes.root, this.edges.root);
  }

  update(numbers) {
    this.nodes.update(numbers.nodes);
    this.edges.update(numbers.edges);
  }
}
