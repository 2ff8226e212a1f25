// The faces of a tile: label, a bar for each expression, and the last seconds as a timeline.

import { element, say } from "./words.js";

/** The canonical class order. */
const EXPRESSIONS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];
const COLOURS = ["#e5484d", "#8bb13c", "#a06cd5", "#f2b632", "#4a90d9", "#f0843c", "#8b95a1"];
/** Seconds of a timeline. */
const SPAN_S = 10;
/** Time after which an unseen face is removed, seconds of the stream. */
const GONE_AFTER_S = 2;
/** Maximum number of faces that a tile shows. */
const MOST_FACES = 3;

class FaceRow {
  /** @type {{at: number, label: number}[]} */
  #past = [];

  constructor(name) {
    this.name = name;
    this.label = element("span", { class: "label" });
    this.bars = EXPRESSIONS.map((expression, index) => {
      const bar = element("i");
      bar.style.background = COLOURS[index];
      return element("span", { class: "bar", title: expression }, bar, element("b", {}, expression.slice(0, 3)));
    });
    this.timeline = element("canvas", { class: "timeline", width: SPAN_S * 24, height: 10, role: "img" });
    const bars = element("span", { class: "bars", "aria-hidden": "true" }, ...this.bars);
    this.root = element("li", { class: "face" }, this.label, bars, this.timeline);
  }

  update(face, at) {
    this.seen = at;
    const label = EXPRESSIONS.indexOf(face.label);
    const certainty = face.shares && label >= 0 ? ` ${face.shares[label].toFixed(2)}` : "";
    say(this.label, `${this.name}${face.label ? ` ${face.label}${certainty}` : ""}`);
    this.root.classList.toggle("unclassified", !face.shares && label < 0);
    this.bars.forEach((bar, index) => {
      bar.firstChild.style.height = `${Math.round((face.shares?.[index] ?? 0) * 100)}%`;
    });
    // A restarted stream begins at 0.
    this.#past = this.#past.filter((past) => past.at > at - SPAN_S && past.at <= at);
    this.#past.push({ at, label });
    this.#draw(at);
  }

  #draw(at) {
    const { width, height } = this.timeline;
    const context = this.timeline.getContext("2d");
    context.clearRect(0, 0, width, height);
    const x = (time) => width * (1 - (at - time) / SPAN_S);
    this.#past.forEach(({ at: from, label }, index) => {
      const to = this.#past[index + 1]?.at ?? at + 0.1;
      // Longer gaps are left empty.
      if (label < 0) return;
      context.fillStyle = COLOURS[label];
      context.fillRect(x(from), 0, Math.max(1, x(Math.min(to, from + 1)) - x(from)), height);
    });
    const runs = this.#past.map(({ label }) => label).filter((label, index, all) => label >= 0 && label !== all[index - 1]);
    const words = runs.slice(-5).map((label) => EXPRESSIONS[label]).join(", then ");
    this.timeline.setAttribute("aria-label", `last ${SPAN_S} seconds: ${words || "no label"}`);
  }
}

/** The faces of one stream. */
export class Faces {
  #rows = new Map();

  constructor() {
    this.root = element("ul", { class: "faces" });
    this.more = element("p", { class: "quiet" });
  }

  /** @param {{track: ?number, label: ?string, shares: ?number[]}[]} faces */
  update(faces, at) {
    const byTrack = [...faces].sort((a, b) => (a.track ?? 0) - (b.track ?? 0));
    byTrack.slice(0, MOST_FACES).forEach((face, index) => {
      const name = face.track === null ? `face ${index + 1}` : `#${face.track}`;
      let row = this.#rows.get(name);
      if (!row) {
        row = new FaceRow(name);
        this.#rows.set(name, row);
        this.root.append(row.root);
      }
      row.update(face, at);
    });
    for (const [name, row] of this.#rows) {
      // A face without a number may have got one since, so it is not kept.
      const wait = name.startsWith("#") ? GONE_AFTER_S : 0;
      if (row.seen < at - wait || row.seen > at || this.#rows.size > 2 * MOST_FACES) {
        row.root.remove();
        this.#rows.delete(name);
      }
    }
    const more = faces.length - MOST_FACES;
    say(this.more, more > 0 ? `and ${more} more` : "");
  }
}
