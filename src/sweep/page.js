"use strict";
const { vary, runs } = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
function el(name, attributes = {}, ...children) {
  const node = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
const short = path => path.replace(/^nodes\./, "");
const number = (value, digits = 1) => value === null ? "–" : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const share = value => value === null ? "–" : number(100 * value) + " %";
const name = run => vary.map(([path]) => `${short(path)}=${run.set[path]}`).join(", ");
const told = runs.filter(run => run.kpi.lag_ms !== null && run.kpi.flips_per_minute !== null);
const beats = (a, b) => a.kpi.lag_ms <= b.kpi.lag_ms && a.kpi.flips_per_minute <= b.kpi.flips_per_minute && (a.kpi.lag_ms < b.kpi.lag_ms || a.kpi.flips_per_minute < b.kpi.flips_per_minute);
const best = new Set(told.filter(run => !told.some(other => beats(other, run))));
// The first path has a colour for each value; values of other paths are in the marks' titles and the table.
const COLOURS = ["#4477aa", "#cc3311", "#117733", "#b8860b", "#882255", "#44aa99", "#7a828d"];
const colour = run => COLOURS[vary[0][1].indexOf(run.set[vary[0][0]]) % COLOURS.length];

function plot() {
  if (!told.length) { document.getElementById("plot").append(el("p", { class: "note" }, "No run has both a lag and flips to draw: no label changed for half a second, or nothing was labelled.")); return; }
  const W = 760, H = 420, L = 58, B = 44, R = 16, T = 14;
  const mostX = Math.max(...told.map(r => r.kpi.lag_ms), 1) * 1.08, mostY = Math.max(...told.map(r => r.kpi.flips_per_minute), 1) * 1.08;
  const x = v => L + v / mostX * (W - L - R), y = v => H - B - v / mostY * (H - B - T);
  const svg = el("svg:svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "flips a minute against lag" });
  const ticks = most => { const raw = most / 5, p = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map(n => n * p).find(n => n >= raw), out = []; for (let v = 0; v <= most; v += step) out.push(v); return out; };
  for (const v of ticks(mostX)) svg.append(el("svg:line", { class: "axis", x1: x(v), x2: x(v), y1: T, y2: H - B }), el("svg:text", { x: x(v), y: H - B + 15, "text-anchor": "middle" }, number(v, 0)));
  for (const v of ticks(mostY)) svg.append(el("svg:line", { class: "axis", x1: L, x2: W - R, y1: y(v), y2: y(v) }), el("svg:text", { x: L - 6, y: y(v) + 4, "text-anchor": "end" }, number(v, mostY < 5 ? 1 : 0)));
  svg.append(el("svg:text", { x: (L + W - R) / 2, y: H - 8, "text-anchor": "middle" }, "lag of smoothing, ms"), el("svg:text", { transform: `translate(14 ${(H - B + T) / 2}) rotate(-90)`, "text-anchor": "middle" }, "flips a minute, smoothed"));
  const front = [...best].sort((a, b) => a.kpi.lag_ms - b.kpi.lag_ms);
  svg.append(el("svg:path", { class: "front", d: front.map((r, i) => `${i ? "L" : "M"}${x(r.kpi.lag_ms).toFixed(1)} ${y(r.kpi.flips_per_minute).toFixed(1)}`).join("") }));
  for (const run of told) {
    const mark = el("svg:circle", { cx: x(run.kpi.lag_ms).toFixed(1), cy: y(run.kpi.flips_per_minute).toFixed(1), r: 6, fill: colour(run), class: best.has(run) ? "best" : null },
      el("svg:title", {}, `${name(run)}: ${number(run.kpi.flips_per_minute)} flips a minute, lag ${number(run.kpi.lag_ms, 0)} ms`));
    svg.append(el("svg:a", { href: `${encodeURIComponent(run.folder)}/kpi.html` }, mark));
  }
  const legend = el("div", { class: "legend" }, el("strong", {}, short(vary[0][0])), ...vary[0][1].map((value, i) => { const s = el("span", {}, value); s.style.setProperty("--c", COLOURS[i % COLOURS.length]); return s; }));
  document.getElementById("plot").append(legend, svg);
}

function table() {
  const columns = [
    ["flips/min raw", k => number(k.flips_per_minute_raw)], ["flips/min", k => number(k.flips_per_minute)], ["flip rate", k => share(k.flip_rate)], ["lag, ms", k => number(k.lag_ms, 0)],
    ["never followed", k => number(k.lasting_changes_not_followed, 0)], ["excess flips", k => number(k.excess_flips, 0)], ["streaming accuracy", k => share(k.streaming_accuracy)], ["accuracy", k => share(k.accuracy)], ["p50, ms", k => number(k.latency_ms.p50)], ["dropped", k => share(k.drop_rate)],
  ].filter(([, cell]) => runs.some(run => cell(run.kpi) !== "–"));
  const head = el("tr", {}, ...vary.map(([path]) => el("th", { scope: "col" }, short(path))), ...columns.map(([title]) => el("th", { scope: "col" }, title)), el("th", {}, ""));
  const rows = runs.map(run => el("tr", { class: best.has(run) ? "best" : null }, ...vary.map(([path]) => el("td", {}, run.set[path])), ...columns.map(([, cell]) => el("td", {}, cell(run.kpi))), el("td", {}, el("a", { href: `${encodeURIComponent(run.folder)}/kpi.html` }, "labels"))));
  document.getElementById("table").append(el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows)));
}

document.getElementById("what").textContent = `${runs.length} runs: ` + vary.map(([path, values]) => `${short(path)} ${values.join(", ")}`).join(" · ");
plot(); table();
