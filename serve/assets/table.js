// Nodes and edges as tables: the contents of the drawing, for those who cannot see it or want to copy numbers. Also workers, which are
// not drawn.

import { count, dropped, element, milliseconds, rate, say, seconds, share, states } from "./words.js";

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
  "Mean wait": (edge) => milliseconds(edge.wait_ms),
  Rate: (edge) => rate(edge.sent_per_s),
  Dropped: (edge) => dropped(edge.dropped),
  "When full": (edge) => (edge.drops ? "drops" : "waits"),
};

const WORKER_COLUMNS = {
  Worker: (worker) => worker.name,
  Machine: (worker) => worker.host,
  State: (worker) => (worker.reason ? `${worker.state}: ${worker.reason}` : worker.lags ? `${worker.state}, lags` : worker.state),
  "In hand": (worker) => (worker.in_hand.length ? `${worker.in_hand.join(", ")} (for ${seconds(worker.oldest_unit_s)})` : "–"),
  Units: (worker) => count(worker.units),
  Rows: (worker) => count(worker.rows),
  Rate: (worker) => rate(worker.rows_per_s),
  "Too late": (worker) => count(worker.late),
  "Last seen": (worker) => `${seconds(worker.silent_s)} ago`,
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

/** The workers of a job whose units are computed on other machines. */
export class WorkerTable {
  constructor(root) {
    this.root = root;
    this.workers = new Table("Who computes the units", WORKER_COLUMNS);
    root.append(this.workers.root);
  }

  update(workers) {
    this.root.hidden = workers.length === 0;
    this.workers.update(workers);
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
