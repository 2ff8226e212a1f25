// The graph, drawn once, with the numbers of now on its nodes and edges.

import { NODE, layout } from "./layout.js";
import { count, milliseconds, rate, say, share, shortened, states } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
/** On a narrower screen the graph runs downwards. */
const NARROW = 700;
/** Letters of a name that a node has room for. */
const MOST_NAME = 18;

function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function text(x, y, kind) {
  return shape("text", { x, y, class: kind });
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
    // An SVG of its own shows nothing beyond its sides.
    const words = shape("svg", { width: NODE.width - 6, height: NODE.height }, title, this.state, this.speed, this.extra);
    this.root = shape("g", { class: "node", transform: `translate(${x} ${y})` }, this.all, box, this.busy, words);
  }

  update(node) {
    const worst = ["lost", "restarting", "blocked"].find((state) => node.states[state]);
    this.root.setAttribute("data-state", worst ?? "well");
    const state = states(node.states) || "not there";
    const speed = `${rate(node.processed_per_s)} · ${milliseconds(node.service_ms)} · p99 ${milliseconds(node.service_p99_ms)}`;
    // What is wrong comes first: what has no room is in the title alone.
    const extras = [];
    if (node.failed) extras.push(`${count(node.failed)} failed`);
    if (node.restarts) extras.push(`${node.restarts} restarts`);
    extras.push(`busy ${share(Math.min(node.busy, 1))}`);
    if (node.batches) extras.push(`batch ${node.batches.mean.toFixed(1)}/${node.batches.max}`);
    const extra = extras.join(" · ");
    say(this.state, state);
    say(this.speed, speed);
    say(this.extra, extra);
    say(this.all, `${this.name} (${this.actor})\n${state}\n${speed}\n${extra}`);
    this.busy.setAttribute("width", Math.min(node.busy, 1) * NODE.width);
  }
}

class EdgeDrawing {
  constructor(edge, from, to, isVertical, choose) {
    const start = isVertical
      ? { x: from.x + NODE.width / 2, y: from.y + NODE.height }
      : { x: from.x + NODE.width, y: from.y + NODE.height / 2 };
    const end = isVertical ? { x: to.x + NODE.width / 2, y: to.y } : { x: to.x, y: to.y + NODE.height / 2 };
    const bend = isVertical
      ? `${start.x} ${(start.y + end.y) / 2} ${end.x} ${(start.y + end.y) / 2}`
      : `${(start.x + end.x) / 2} ${start.y} ${(start.x + end.x) / 2} ${end.y}`;
    const path = `M${start.x} ${start.y} C${bend} ${end.x} ${end.y}`;
    // Near its end: where edges come from one node they are apart there.
    const at = { x: start.x + (end.x - start.x) * 0.6, y: start.y + (end.y - start.y) * 0.6 };
    this.depth = text(at.x, at.y - 5, "depth");
    this.flow = text(at.x, at.y + 14, "depth");
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
    const level = edge.fullness >= full ? "full" : edge.fullness >= filling ? "filling" : "calm";
    this.root.setAttribute("data-level", level);
    say(this.depth, `${edge.depth}/${edge.capacity}`);
    say(this.flow, edge.dropped_per_s > 0 ? `−${rate(edge.dropped_per_s)}` : rate(edge.sent_per_s));
    this.flow.classList.toggle("dropping", edge.dropped_per_s > 0);
    const fullest = edge.fullest ? `, fullest ${share(edge.fullness)} (${edge.fullest})` : "";
    const label = `from ${edge.from} to ${edge.to}: ${edge.depth} of ${edge.capacity} packets wait${fullest}, ${rate(edge.sent_per_s)}`;
    this.root.setAttribute("aria-label", `${label}. Show its packets`);
  }
}

/** The drawing of a graph. */
export class GraphDrawing {
  #nodes = [];
  #edges = [];

  /** @param {(edge: ?number) => void} choose is told which edge is to be tapped */
  constructor(root, choose) {
    this.root = root;
    this.choose = choose;
    this.narrow = matchMedia(`(max-width: ${NARROW}px)`);
    this.narrow.addEventListener("change", () => this.draw());
  }

  /** Shows a graph; `levels` says from which fullness on an edge is filling and full. */
  begin(graph, levels) {
    this.graph = graph;
    this.levels = levels;
    this.draw();
  }

  draw() {
    if (!this.graph) return;
    const { nodes, edges } = this.graph;
    const isVertical = this.narrow.matches;
    const { places, width, height } = layout(nodes, edges, isVertical);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "the graph" });
    this.#edges = edges.map((edge, number) => {
      const [from, to] = [places.get(edge.from), places.get(edge.to)];
      return new EdgeDrawing(edge, from, to, isVertical, () => this.choose(number));
    });
    this.#nodes = nodes.map((node) => new NodeDrawing(node, places.get(node.name)));
    svg.append(...this.#edges.map((edge) => edge.root), ...this.#nodes.map((node) => node.root));
    this.root.replaceChildren(svg);
    if (this.numbers) this.update(this.numbers);
  }

  update(numbers) {
    this.numbers = numbers;
    numbers.nodes.forEach((node, index) => this.#nodes[index]?.update(node));
    numbers.edges.forEach((edge, index) => this.#edges[index]?.update(edge, this.levels));
  }

  /** Marks the edge that is tapped. */
  mark(number) {
    this.#edges.forEach((edge, index) => edge.root.setAttribute("aria-pressed", String(index === number)));
  }
}
