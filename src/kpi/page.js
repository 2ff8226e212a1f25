"use strict";
const { kpi, timelines } = JSON.parse(document.getElementById("data").textContent);
const at = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children; strings become text nodes, whatever they contain.
function el(name, attributes = {}, ...children) {
  const isSvg = ["svg", "rect", "path", "text", "g", "line", "title"].includes(name);
  const node = isSvg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const number = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = value => number(100 * value, 1) + " %";
const ms = value => number(value, value < 10 ? 2 : 1);
const count = value => number(value, 0);
const plain = value => number(value, 2);

const ROWS = [
  ["Throughput"],
  ["frames", "Frames", count],
  ["fps_captured", "Captured, frames/s", plain],
  ["fps_processed", "Processed, frames/s", plain],
  ["drop_rate", "Dropped", percent],
  ["Latency, ms"],
  ["latency_ms.p50", "p50", ms], ["latency_ms.p90", "p90", ms], ["latency_ms.p99", "p99", ms], ["latency_ms.max", "max", ms],
  ["time_to_first_label_ms", "Time to first label", ms],
  ["Steadiness"],
  ["flip_rate_raw", "Flip rate, raw", percent],
  ["flip_rate", "Flip rate, smoothed", percent],
  ["flips_per_minute_raw", "Flips a minute, raw", plain],
  ["flips_per_minute", "Flips a minute, smoothed", plain],
  ["excess_flips_raw", "Excess flips, raw", count],
  ["excess_flips", "Excess flips, smoothed", count],
  ["lag_ms", "Lag of smoothing, ms", ms],
  ["lasting_changes_not_followed", "Lasting changes never followed", count],
  ["true_changes", "True changes", count],
  ["true_changes_not_followed", "True changes never followed", count],
  ["Agreement with the truth"],
  ["streaming_accuracy", "Streaming accuracy", percent],
  ["accuracy_raw", "Accuracy, raw", percent],
  ["accuracy", "Accuracy, smoothed", percent],
  ["accuracy_pm_500ms", "Right for ±0.5 s", percent],
  ["Faces"],
  ["detection_rate", "Frames with a face", percent],
  ["tracks", "Tracks", count],
];

const value = (measures, path) => path.split(".").reduce((inner, key) => inner?.[key], measures);

function cell(measures, path, format) {
  const found = value(measures, path);
  if (found !== null && found !== undefined) return el("td", {}, format(found));
  const reason = measures.unknown[path.split(".")[0]] ?? "not known";
  return el("td", {}, el("span", { class: "unknown", title: reason, tabindex: 0, "aria-label": `not known: ${reason}` }, "–"));
}

function numbers() {
  const columns = [];
  for (const run of kpi.runs) {
    const names = Object.keys(run.streams);
    columns.push([kpi.runs.length > 1 ? run.name : "all streams", run.all]);
    if (kpi.runs.length === 1 && names.length > 1) for (const name of names) columns.push([name, run.streams[name]]);
  }
  const head = el("tr", {}, el("th", { scope: "col" }, ""), ...columns.map(([name]) => el("th", { scope: "col" }, name)));
  const body = ROWS.map(([path, title, format]) => title === undefined
    ? el("tr", { class: "group" }, el("th", { colspan: columns.length + 1, scope: "rowgroup" }, path))
    : el("tr", {}, el("th", { scope: "row" }, title), ...columns.map(([, measures]) => cell(measures, path, format))));
  at("table").append(el("table", {}, el("thead", {}, head), el("tbody", {}, ...body)));
  for (const { name, clocks } of kpi.runs) if (clocks) {
    const error = clocks.latency_error_ms;
    const worth = error === null ? "their error is unknown" : `may be wrong by ${ms(error)} ms`;
    at("table").after(el("p", { class: "note" }, `${name}: latencies of streams from other machines are measured with two clocks, and ${worth}.`));
  }
  const reasons = new Map();
  for (const [, measures] of columns) for (const [field, reason] of Object.entries(measures.unknown)) {
    if (!reasons.has(reason)) reasons.set(reason, new Set());
    reasons.get(reason).add(field);
  }
  if (reasons.size) {
    const lines = [...reasons].map(([reason, fields]) => el("li", {}, `${[...fields].join(", ")}: ${reason}`));
    at("unknown-note").replaceWith(el("details", { class: "note" }, el("summary", {}, "Why some numbers are not known (–)"), el("ul", {}, ...lines)));
  }
}

const TITLES = Object.fromEntries(ROWS.filter(row => row.length > 1).map(([path, title, format]) => [path, [title, format]]));
Object.assign(TITLES, { latency_p50_ms: ["Latency p50, ms", ms], latency_p90_ms: ["Latency p90, ms", ms], fps_processed_per_stream: ["Processed of a stream, frames/s", plain] });

function differences() {
  if (!kpi.differences.length) return;
  at("differences").hidden = false;
  for (const pair of kpi.differences) {
    const rows = Object.entries(pair.measures).filter(([, d]) => d.first !== null || d.second !== null).map(([name, d]) => {
      const [title, format] = TITLES[name] ?? [name, plain];
      const of = v => el("td", {}, v === null ? "–" : format(v));
      const sign = d.difference === null ? "–" : (d.difference > 0 ? "+" : "") + format(d.difference);
      const range = d.low === null ? "" : `${format(d.low)} to ${format(d.high)}`;
      const mark = d.verdict === "cannot tell" ? "tell" : d.verdict;
      return el("tr", {}, el("th", { scope: "row" }, title), of(d.first), of(d.second), el("td", {}, sign), el("td", {}, range),
        el("td", { class: "text " + mark }, d.verdict + (d.reason ? `: ${d.reason}` : "")));
    });
    const heads = ["", pair.first, pair.second, "difference", "95 % of the samples", "more than noise?"];
    at("diff").append(el("h3", {}, `${pair.second} beside ${pair.first}`),
      el("p", { class: "note" }, `${count(pair.frames)} frames in common (${count(pair.only_first_frames)} and ${count(pair.only_second_frames)} in one only), drawn in ${pair.blocks} blocks of at least 5 s`),
      el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((h, i) => el("th", { scope: "col", class: i === 5 ? "text" : null }, h)))), el("tbody", {}, ...rows))));
  }
}

// Colours that colour-blind readers can tell apart (Tol's muted scheme).
const COLOURS = { angry: "#cc3311", disgust: "#117733", fear: "#882255", happy: "#b8860b", sad: "#4477aa", surprise: "#ee7733", neutral: "#7a828d" };
const OTHERS = ["#332288", "#44aa99", "#aa4499", "#999933", "#661100", "#6699cc"];
const colour = label => COLOURS[label] ??= OTHERS[Object.keys(COLOURS).length % OTHERS.length];

const clock = time => {
  const s = time / 1000;
  return s < 60 ? `${number(s, 2)} s` : `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;
};

// The piece of a stream's video that contains a time of a segment. The times are rounded independently.
const piece = (stream, segment, time) => stream.videos.filter(v => (v.segment ?? segment) === segment && v.pts_ms <= time + 0.5).at(-1);

function show(stream, name, segment, time) {
  if (!stream.videos.length) return;
  const found = piece(stream, segment, time), video = at("video");
  at("player").hidden = false;
  video.hidden = !found;
  at("playing").textContent = `${name}, ${clock(time)}` + (found ? "" : ": in no video that is here");
  if (!found) return;
  const url = found.path.split("/").map(part => part === ".." ? part : encodeURIComponent(part)).join("/");
  if (video.getAttribute("src") !== url) video.setAttribute("src", url);
  video.pause();
  // Into the frame, not onto its edge.
  video.currentTime = (found.at_ms + time - found.pts_ms) / 1000 + 0.001;
}

function picture(stream, name, track, width) {
  const span = Math.max(stream.until_ms - stream.from_ms, 1);
  const x = time => (time - stream.from_ms) / span * width;
  const bands = [["raw", track.raw, 10], ["smoothed", track.smoothed, 18]];
  const height = 10 + bands.reduce((sum, band) => sum + band[2] + 2, 0);
  const svg = el("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": `labels of track ${track.track}`, class: stream.videos.length ? null : "still" });
  svg.style.width = width + "px";
  let y = 8;
  for (const [band, stretches, tall] of bands) {
    let drawn = -1;
    for (const [from, until, label] of stretches) {
      const wide = Math.max(x(until) - x(from), 1);
      // With an hour in one window, thousands would share a pixel.
      if (wide === 1 && Math.floor(x(from)) === drawn) continue;
      drawn = Math.floor(x(from));
      svg.append(el("rect", { x: x(from).toFixed(1), y, width: wide.toFixed(1), height: tall, fill: colour(label) }, el("title", {}, `${label}, ${band}, ${clock(from)} to ${clock(until)}`)));
      if (tall > 12 && wide > 7 * label.length + 8) svg.append(el("text", { class: "in", x: (x(from) + 4).toFixed(1), y: y + 13 }, label));
    }
    y += tall + 2;
  }
  let marked = -1;
  for (const time of track.flips_ms) {
    const place = x(time);
    if (Math.floor(place) === marked) continue;
    marked = Math.floor(place);
    const before = track.smoothed.find(([, until]) => until === time)?.[2], after = track.smoothed.find(([from]) => from === time)?.[2];
    const what = `${clock(time)}: ${before ?? "?"} to ${after ?? "?"}`;
    const mark = el("g", { class: "flip", tabindex: stream.videos.length ? 0 : null, role: stream.videos.length ? "button" : "img", "aria-label": `flip at ${what}` },
      el("title", {}, what + (stream.videos.length ? " (click: show this frame)" : "")),
      el("rect", { x: place - 5, y: 0, width: 10, height, fill: "transparent" }),
      el("path", { d: `M${place - 4} 0h8l-4 7z` }));
    mark.addEventListener("click", () => show(stream, name, track.segment, time));
    mark.addEventListener("keydown", event => { if (event.key === "Enter") show(stream, name, track.segment, time); });
    svg.append(mark);
  }
  return svg;
}

function truth(stream, face, width) {
  const span = Math.max(stream.until_ms - stream.from_ms, 1), x = time => (time - stream.from_ms) / span * width;
  const svg = el("svg", { viewBox: `0 0 ${width} 14`, height: 14, role: "img", "aria-label": `truth of face ${face.face}` });
  svg.style.width = width + "px";
  for (const [from, until, label] of face.labels) {
    const wide = Math.max(x(until) - x(from), 1);
    svg.append(el("rect", { x: x(from).toFixed(1), y: 0, width: wide.toFixed(1), height: 14, fill: colour(label) }, el("title", {}, `${label}, true, ${clock(from)} to ${clock(until)}`)));
    if (wide > 7 * label.length + 8) svg.append(el("text", { class: "in", x: (x(from) + 4).toFixed(1), y: 11 }, label));
  }
  return svg;
}

function axis(stream, width) {
  const span = Math.max(stream.until_ms - stream.from_ms, 1), steps = Math.max(2, Math.floor(width / 110));
  const raw = span / steps, power = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map(n => n * power).find(n => n >= raw);
  const svg = el("svg", { viewBox: `0 0 ${width} 14`, height: 14, "aria-hidden": "true" });
  const digits = step < 1000 ? 1 : 0;
  const mark = time => time < 60000 ? `${number(time / 1000, digits)} s` : `${Math.floor(time / 60000)}:${(time / 1000 % 60).toFixed(digits).padStart(digits ? 4 : 2, "0")}`;
  svg.style.width = width + "px";
  for (let time = 0; time <= span; time += step) {
    const place = time / span * width;
    if (place < width - 30 || time === 0) svg.append(el("text", { x: place.toFixed(1), y: 11 }, mark(time + stream.from_ms)));
  }
  return svg;
}

function line(title, drawing) {
  return el("div", { class: "track" }, el("div", {}, ...title), el("div", { class: "scroll" }, drawing));
}

function labels() {
  const room = at("timelines");
  room.replaceChildren();
  const column = window.innerWidth <= 600 ? 0 : 194, fit = Math.max(240, room.clientWidth - column), zoom = Number(at("zoom").value);
  for (const run of timelines) for (const [name, stream] of Object.entries(run.streams)) {
    const width = zoom ? Math.max(fit, (stream.until_ms - stream.from_ms) / 1000 * zoom) : fit;
    const title = timelines.length > 1 ? `${run.name}: ${name}` : name;
    const box = el("details", { open: "" }, el("summary", {}, el("strong", {}, title), ` · ${stream.tracks.length} ${stream.tracks.length === 1 ? "track" : "tracks"}` + (stream.videos.length ? "" : " · no annotated video here")));
    // Rows that belong together scroll together.
    for (const face of stream.truth) box.append(line([`face ${face.face}`, el("br"), " true"], truth(stream, face, width)));
    const drawn = stream.tracks.filter(track => track.raw.length + track.smoothed.length);
    for (const track of drawn) box.append(line([`track ${track.track}` + (track.segment ? `, segment ${track.segment}` : ""), el("br"), ` flips ${track.flips_raw} raw, ${track.flips_ms.length} smoothed`], picture(stream, name, track, width)));
    if (drawn.length) box.append(line([""], axis(stream, width)));
    else box.append(el("p", { class: "note" }, "no track was labelled"));
    const scrolls = [...box.querySelectorAll(".scroll")];
    for (const one of scrolls) one.addEventListener("scroll", () => { for (const other of scrolls) if (other.scrollLeft !== one.scrollLeft) other.scrollLeft = one.scrollLeft; });
    room.append(box);
  }
  at("legend").replaceChildren(...Object.keys(COLOURS).filter(label => timelines.some(run => Object.values(run.streams).some(stream => [...stream.tracks.flatMap(t => [...t.raw, ...t.smoothed]), ...stream.truth.flatMap(t => t.labels)].some(s => s[2] === label))))
    .map(label => { const mark = el("span", {}, label); mark.style.setProperty("--c", colour(label)); return mark; }));
}

// Number of nodes shown at first.
const MOST_STAGES = 12;

function stages() {
  for (const run of kpi.runs) {
    if (kpi.runs.length > 1) at("stages").append(el("h3", {}, run.name));
    if (!run.stages) { at("stages").append(el("p", { class: "note" }, "only report.json knows")); continue; }
    const longest = Math.max(...Object.values(run.stages).flatMap(s => [s.service_ms.max ?? 0, s.queue_wait_ms.max ?? 0]), 1e-9);
    const of = q => ["p50", "p99"].map(key => el("td", {}, q[key] === null ? "–" : ms(q[key])));
    const bar = q => { const mark = el("span", { class: "bar" }); mark.style.width = Math.max(1, 120 * Math.sqrt((q.p50 ?? 0) / longest)) + "px"; return el("td", { class: "text" }, mark); };
    // The busiest nodes come first; with many streams the rest is collapsed.
    const load = ([, s]) => s.service_ms.count * (s.service_ms.p50 ?? 0);
    const sorted = Object.entries(run.stages).sort((a, b) => load(b) - load(a));
    const rows = sorted.map(([name, s]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, count(s.service_ms.count)), ...of(s.queue_wait_ms), ...of(s.service_ms), bar(s.service_ms)));
    const heads = ["node", "packets", "waits p50, ms", "p99", "computes p50, ms", "p99", "p50 (root scale)"];
    const table = rows => el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, ...heads.map(h => el("th", { scope: "col" }, h)))), el("tbody", {}, ...rows)));
    const most = rows.length > MOST_STAGES + 2 ? MOST_STAGES : rows.length;
    at("stages").append(table(rows.slice(0, most)));
    if (most < rows.length) at("stages").append(el("details", {}, el("summary", {}, `${rows.length - most} more that compute less`), table(rows.slice(most))));
  }
}

function drops() {
  for (const run of kpi.runs) {
    if (kpi.runs.length > 1) at("drops").append(el("h3", {}, run.name));
    const { drops: causes, drops_elsewhere: elsewhere, unknown } = run.all;
    const table = causes => el("div", { class: "wide" }, el("table", {}, el("tbody", {}, ...Object.entries(causes).sort((a, b) => b[1] - a[1]).map(([cause, n]) => el("tr", {}, el("th", { scope: "row" }, cause), el("td", {}, count(n)))))));
    if (causes === null) at("drops").append(el("p", { class: "note" }, unknown.drops ?? "not known"));
    else if (!Object.keys(causes).length) at("drops").append(el("p", {}, "Everything arrived in the table."));
    else at("drops").append(table(causes));
    if (elsewhere && Object.keys(elsewhere).length) at("drops").append(el("p", { class: "note" }, "On the way to other sinks, which these numbers are not about:"), table(elsewhere));
  }
}

at("what").textContent = kpi.runs.map(run => run.name + (run.clock ? ` (clock ${run.clock})` : "")).join(" · ");
document.title = "KPIs: " + kpi.runs.map(run => run.name).join(", ");
numbers(); differences(); labels(); stages(); drops();
at("zoom").addEventListener("change", labels);
let waiting;
window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(labels, 100); });
