// A tile for each stream: its newest picture, its state, its faces, and its controls.
//
// A tile requests the next picture when it has shown the last one and is on the screen: that is its credit. So pictures come as fast
// as this browser shows them, and what nobody sees is neither encoded nor sent.

import { Faces } from "./faces.js";
import { ask } from "./controls.js";
import { count, element, milliseconds, rate, say } from "./words.js";

/** Milliseconds over which a tile counts its pictures. */
const RATE_SPAN_MS = 2000;

class Tile {
  isOnScreen = false;
  #shown = [];

  constructor(name) {
    this.name = name;
    this.state = element("span", { class: "badge" });
    this.canvas = element("canvas", { width: 640, height: 360, role: "img", "aria-label": `${name}: no picture yet` });
    this.canvas.tile = this;
    this.reason = element("p", { class: "reason" });
    this.numbers = element("p", { class: "quiet" });
    this.faces = new Faces();
    this.reconnect = element("button", { type: "button", "aria-label": `Reconnect ${name}` }, "Reconnect");
    this.remove = element("button", { type: "button", "aria-label": `Remove ${name}` }, "Remove");
    this.reconnect.onclick = () => ask(this.reconnect, "/streams/reconnect", { name });
    this.remove.onclick = () => ask(this.remove, "/streams/remove", { name });
    this.dismiss = element("button", { type: "button", "aria-label": `Dismiss ${name}` }, "Dismiss");
    const title = element("h3", {}, name);
    this.root = element(
      "article",
      { class: "tile", "aria-label": `stream ${name}` },
      element("div", { class: "title" }, title, this.state),
      element("div", { class: "picture" }, this.canvas, this.reason),
      this.numbers,
      this.faces.root,
      this.faces.more,
      element("div", { class: "controls" }, this.reconnect, this.remove, this.dismiss),
    );
  }

  update(stream) {
    const isOver = stream.state === "over";
    say(this.state, stream.state);
    this.state.dataset.state = stream.state;
    say(this.reason, stream.reason ?? "");
    this.root.classList.toggle("dark", isOver || stream.state === "offline");
    this.remove.hidden = isOver;
    this.dismiss.hidden = !isOver;
    const lost = stream.lost + stream.missed;
    const now = isOver
      ? `${count(stream.delivered)} of ${count(stream.captured)} frames delivered`
      : `${rate(stream.delivered_per_s)} of ${rate(stream.captured_per_s)} · ${milliseconds(stream.latency_p50_ms)} · ${count(stream.delivered)} frames`;
    const dropped = stream.dropped > 0 ? ` · ${count(stream.dropped)} dropped` : "";
    say(this.numbers, `${now}${dropped}${lost > 0 ? ` · ${count(lost)} lost` : ""}`);
  }

  async show(header, jpeg) {
    const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    await new Promise(requestAnimationFrame);
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.faces.update(header.faces, header.at_s);
    this.#describe(header);
  }

  #describe(header) {
    const now = performance.now();
    this.#shown = [...this.#shown.filter((at) => at > now - RATE_SPAN_MS), now];
    this.canvas.dataset.sequence = header.sequence;
    this.canvas.dataset.rate = (this.#shown.length / (RATE_SPAN_MS / 1000)).toFixed(1);
    const labels = header.faces.map((face) => face.label).filter(Boolean);
    const faces = header.faces.length === 1 ? "1 face" : `${header.faces.length} faces`;
    this.canvas.setAttribute("aria-label", `${this.name}: ${faces}${labels.length ? `, ${labels.join(", ")}` : ""}`);
  }
}

/** All tiles. */
export class Tiles {
  #tiles = new Map();
  /** Names of ended streams whose tiles were dismissed. */
  #dismissed = new Set();

  /** @param {(message: object) => void} tell sends a message to the run */
  constructor(root, tell) {
    this.root = root;
    this.tell = tell;
    this.observer = new IntersectionObserver((entries) => this.#moved(entries));
  }

  /** Updates the tiles to the current streams. */
  update(all) {
    for (const { name, state } of all) {
      if (state !== "over") this.#dismissed.delete(name);
    }
    // A reopened stream has a tile under its new name.
    const streams = all.filter((stream) => !this.#dismissed.has(stream.name) && !(stream.state === "over" && stream.reopened_as));
    for (const stream of streams) {
      let tile = this.#tiles.get(stream.name);
      if (!tile) {
        tile = new Tile(stream.name);
        tile.dismiss.onclick = () => this.#dismiss(stream.name);
        this.#tiles.set(stream.name, tile);
        this.root.append(tile.root);
        this.observer.observe(tile.canvas);
      }
      // A stream that began after its tile was on the screen.
      const begins = tile.streamState === "over" && stream.state !== "over";
      tile.streamState = stream.state;
      tile.update(stream);
      if (begins && tile.isOnScreen) this.tell({ credit: [tile.name] });
    }
    const names = new Set(streams.map((stream) => stream.name));
    for (const name of [...this.#tiles.keys()].filter((name) => !names.has(name))) this.#drop(name);
    this.root.dataset.tiles = this.#tiles.size;
  }

  #dismiss(name) {
    this.#dismissed.add(name);
    this.#drop(name);
    // Keyboard focus continues where the tiles begin.
    document.getElementById("streams").focus();
  }

  #drop(name) {
    const tile = this.#tiles.get(name);
    this.observer.unobserve(tile.canvas);
    tile.root.remove();
    this.#tiles.delete(name);
  }

  /** A picture: four bytes with the length of a JSON text (little endian), the text, a JPEG. */
  async picture(message) {
    const length = new DataView(message).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
    const tile = this.#tiles.get(header.stream);
    if (!tile) return;
    try {
      await tile.show(header, new Uint8Array(message, 4 + length));
    } catch (error) {
      console.warn(`a picture of ${header.stream} cannot be shown`, error);
    }
    if (tile.isOnScreen) this.tell({ credit: [tile.name] });
  }

  /** Requests the pictures of visible tiles on a new connection. */
  begin() {
    const names = [...this.#tiles.values()].filter((tile) => tile.isOnScreen).map((tile) => tile.name);
    if (names.length) this.tell({ credit: names });
  }

  #moved(entries) {
    const [credit, hide] = [[], []];
    for (const { target, isIntersecting } of entries) {
      const { tile } = target;
      if (tile.isOnScreen === isIntersecting) continue;
      tile.isOnScreen = isIntersecting;
      (isIntersecting ? credit : hide).push(tile.name);
    }
    if (credit.length) this.tell({ credit });
    if (hide.length) this.tell({ hide });
  }
}
