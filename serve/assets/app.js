// Assembles the page: passes messages from the run to the parts that show them.

import { Connection, signIn } from "./connection.js";
import { allow, wireControls } from "./controls.js";
import { GraphDrawing } from "./graph.js";
import { Journal } from "./journal.js";
import { Tables, WorkerTable } from "./table.js";
import { TapTable } from "./tap.js";
import { Tiles } from "./tiles.js";
import { count, counted, rate, say } from "./words.js";

const part = (id) => document.getElementById(id);

const STATES = {
  connecting: "connecting",
  open: "live",
  lost: "connection lost, trying again",
  over: "the run is over",
  locked: "needs its token",
};

const connection = new Connection({ text: hear, picture: (message) => tiles.picture(message), state: showState });
const tell = (message) => connection.say(message);
const tiles = new Tiles(part("tiles"), tell);
const tap = new TapTable(tell, (edge) => drawing.mark(edge));
const drawing = new GraphDrawing(part("graph"), (edge) => tap.choose(edge));
const tables = new Tables(part("tables"));
const workers = new WorkerTable(part("workers"));
const journal = new Journal(part("log"));

function hear({ hello, numbers, journal: entries, tapped }) {
  if (hello) begin(hello);
  if (numbers) showNumbers(numbers);
  if (entries) journal.show(entries);
  if (tapped) tap.show(tapped);
}

function begin(hello) {
  part("main").hidden = false;
  part("no-video").hidden = hello.has_video;
  document.title = `${hello.graph.name} – Fermata`;
  say(part("graph-name"), hello.graph.name);
  allow(hello);
  drawing.begin(hello.graph, hello);
  tap.begin(hello.graph.edges);
  journal.begin();
  tiles.begin();
}

function showNumbers(numbers) {
  tiles.update(numbers.streams);
  drawing.update(numbers);
  tables.update(numbers);
  workers.update(numbers.workers);
  part("no-streams").hidden = numbers.streams.length > 0;
  part("clocks").hidden = !numbers.clocks;
  say(part("clocks"), numbers.clocks?.told ?? "");
  const streams = numbers.streams.filter((stream) => stream.state !== "over");
  const away = streams.filter(isAway).length;
  const running = `${counted(streams.length, "stream")}${away ? ` (${away} away)` : ""}`;
  const isOver = numbers.run === "over";
  const sum = (key) => count(numbers.streams.reduce((all, stream) => all + stream[key], 0));
  // Units of work leave no streams then.
  const sums = numbers.streams.length ? ["captured", "delivered", "dropped", "lost"].map((key) => `${sum(key)} ${key}`) : [];
  const now = isOver ? sums : [running, `${rate(numbers.delivered_per_s)} delivered`];
  const all = [...now, ...(numbers.faults ? [counted(numbers.faults, "fault")] : [])].join(", ");
  say(part("summary"), all ? `${numbers.run}: ${all}` : numbers.run);
  // Rates are meaningless once the run is over.
  const wrong = [...numbers.troubles, isOver ? "" : numbers.bottleneck].filter(Boolean);
  const well = isOver ? "The run is over." : "Nothing is held up: every node keeps pace with what comes.";
  say(part("bottleneck"), wrong.join("\n") || well);
  part("bottleneck").classList.toggle("wrong", wrong.length > 0);
  announce(numbers);
  // Disables controls that were already used.
  part("drain").disabled = ["draining", "stopping", "over"].includes(numbers.run);
  part("stop").disabled = ["stopping", "over"].includes(numbers.run);
}

/** Text that screen readers announce: changes, not the numbers of every second. */
function announce({ run, bottleneck, faults, streams }) {
  const away = streams.filter(isAway).map(({ name, state }) => `${name} is ${state}`);
  const held = run === "over" ? [] : [bottleneck?.split(":")[0] ?? "nothing is held up"];
  say(part("announcement"), [`The run is ${run}`, ...away, ...(faults ? [counted(faults, "fault")] : []), ...held].join(". "));
}

function isAway({ state }) {
  return state === "offline" || state === "reconnecting";
}

function showState(state) {
  const badge = part("connection");
  badge.dataset.state = state;
  // The display is stale until new data arrives.
  part("main").classList.toggle("stale", state === "lost");
  say(badge, STATES[state]);
  part("sign-in").hidden = state !== "locked";
  for (const button of document.querySelectorAll("header button, .tile button, #add button")) {
    button.disabled = state !== "open";
  }
  if (state === "locked") part("token").focus();
}

part("sign-in").onsubmit = async (event) => {
  event.preventDefault();
  const given = await signIn(part("token").value);
  say(part("sign-in-error"), given === "locked" ? "This is not the token of this run." : given === "lost" ? "The run cannot be reached." : "");
  if (given === "open") connection.open();
};

wireControls();
connection.open();
