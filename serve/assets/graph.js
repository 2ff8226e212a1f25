// The graph, drawn once, with current numbers on its nodes and edges.

import { NODE, layout } from "./layout.js";
import { count, counted, dropped, milliseconds, rate, say, share, shortened, states } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
/** Maximum length of a name in a node. */
const MOST_NAME = 18;
/** Width of a node's small lines, pixels. */
const SMALL_ROOM = NODE.width - 22;

function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function text(x, y, kind) {
  return shape("text", { x, y, class: kind });
}

/** Shows as many of the parts as fit; the rest is only in the title. */
function fit(line, parts) {
  for (let count = parts.length; count > 0; count--) {
    say(line, parts.slice(0, count).join(" · "));
    if (line.getComputedTextLength() <= SMALL_ROOM) return;
  }
}

class NodeDrawing {
  constructor({ name, actor }, { x, y }) {
    this.name = name;
    this.actor = actor;
    this.state = text(12, 36, "small");
    this.speed = text(12, 51, "small");
    this.extra = text(12, 66, "small");
    this.busy = shape("rect", { class: "busy", x: 0, y: NODE.height - 4, width: 0, height: 4 });
    const title = text(12, 19, "name");
    title.append(shortened(name, MOST_NAME));
    this.all = shape("title", {});
    const box = shape("rect", { class: "box", width: NODE.width, height: NODE.height, rx: 6 });
    // A nested SVG clips its content.
    const words = shape("svg", { width: NODE.width - 6, height: NODE.height }, title, this.state, this.speed, this.extra);
    this.root = shape("g", { class: "node", transform: `translate(${x} ${y})` }, this.all, box, this.busy, words);
  }

  update(node) {
    const worst = ["lost", "restarting", "blocked"].find((state) => node.states[state]);
    this.root.setAttribute("data-state", worst ?? "well");
    const state = states(node.states) || "not there";
    const speeds = [rate(node.processed_per_s), milliseconds(node.service_ms), `p99 ${milliseconds(node.service_p99_ms)}`];
    // Problems come first.
    const extras = [];
    if (node.failed) extras.push(`${count(node.failed)} failed`);
    if (node.restarts) extras.push(counted(node.restarts, "restart"));
    extras.push(`busy ${share(Math.min(node.busy, 1))}`);
    if (node.batches) extras.push(`batch ${node.batches.mean.toFixed(1)}/${node.batches.max}`);
    say(this.state, state);
    fit(this.speed, speeds);
    fit(this.extra, extras);
    say(this.all, `${this.name} (${this.actor})\n${state}\n${speeds.join(" · ")}\n${extras.join(" · ")}`);
    this.busy.setAttribute("width", Math.min(node.busy, 1) * NODE.width);
  }
}

class EdgeDrawing {
  constructor(edge, { path, x, y, isDown }, choose) {
    // There is room beside a vertical line, and above and below a horizontal one.
    const [at, above, below] = isDown ? [x + 7, y - 3, y + 11] : [x, y - 6, y + 15];
    const kind = isDown ? "depth beside" : "depth";
    this.depth = text(at, above, kind);
    this.flow = text(at, below, kind);
    this.sent = shape("tspan", {});
    this.dropped = shape("tspan", { class: "dropping" });
    this.flow.append(this.sent, this.dropped);
    this.edge = edge;
    this.root = shape(
      "g",
      { class: "edge", role: "button", tabindex: 0, "aria-pressed": "false" },
      shape("path", { class: "reach", d: path }),
      shape("path", { class: "line", d: path }),
      this.depth,
      this.flow,
    );
    this.root.addEventListener("click", choose);
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      choose();
    });
  }

  update(edge, { filling, full }) {
    const isDropping = edge.dropped_per_s > 0;
    // A queue drops when it is full, however briefly.
    const level = isDropping || edge.fullness >= full ? "full" : edge.fullness >= filling ? "filling" : "calm";
    this.root.setAttribute("data-level", level);
    const wait = edge.wait_ms > 0 && edge.sent_per_s > 0 ? milliseconds(edge.wait_ms) : "";
    say(this.depth, `${edge.depth}/${edge.capacity}${wait && ` · ${wait}`}`);
    say(this.sent, rate(edge.sent_per_s));
    say(this.dropped, isDropping ? ` −${rate(edge.dropped_per_s)}` : "");
    const fullest = edge.fullest ? `, fullest ${share(edge.fullness)} (${edge.fullest})` : "";
    const label = [
      `from ${edge.from} to ${edge.to}: ${edge.depth} of ${edge.capacity} packets wait${fullest}`,
      wait && `for ${wait}`,
      rate(edge.sent_per_s),
      isDropping && `${rate(edge.dropped_per_s)} dropped`,
      `dropped so far ${dropped(edge.dropped)}`,
    ];
    this.root.setAttribute("aria-label", `${label.filter(Boolean).join(", ")}. Show its packets`);
  }
}

/** The drawing of a graph. */
export class GraphDrawing {
  #nodes = [];
  #edges = [];

  /** @param {(edge: ?number) => void} choose called with the edge to tap */
  constructor(root, choose) {
    this.root = root;
    this.choose = choose;
    new ResizeObserver(() => this.#fit()).observe(root);
  }

  /** Shows a graph; `levels` holds the fullness from which an edge is filling or full. */
  begin(graph, levels) {
    this.graph = graph;
    this.levels = levels;
    this.draw();
  }

  /** Redraws it if the available room requires another layout. */
  #fit() {
    if (!this.graph) return;
    if (layout(this.graph.nodes, this.graph.edges, this.root.clientWidth).shape !== this.shape) this.draw();
  }

  draw() {
    const { nodes, edges } = this.graph;
    const { places, ways, width, height, shape: drawn } = layout(nodes, edges, this.root.clientWidth);
    this.shape = drawn;
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "the graph" });
    this.#edges = edges.map((edge, number) => new EdgeDrawing(edge, ways[number], () => this.choose(number)));
    this.#nodes = nodes.map((node) => new NodeDrawing(node, places.get(node.name)));
    // The numbers of edges are drawn on top: they may be wider than the gap between two nodes.
    svg.append(...this.#nodes.map((node) => node.root), ...this.#edges.map((edge) => edge.root));
    this.root.replaceChildren(svg);
    if (this.numbers) this.update(this.numbers);
    this.mark(this.marked);
  }

  update(numbers) {
    this.numbers = numbers;
    numbers.nodes.forEach((node, index) => this.#nodes[index]?.update(node));
    numbers.edges.forEach((edge, index) => this.#edges[index]?.update(edge, this.levels));
  }

  /** Marks the edge that is tapped. */
  mark(number) {
    this.marked = number;
    this.#edges.forEach((edge, index) => edge.root.setAttribute("aria-pressed", String(index === number)));
  }
}
