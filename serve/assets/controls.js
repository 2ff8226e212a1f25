// Controls: adding, removing and reopening streams, draining and stopping the run.

import { say } from "./words.js";

/** Requests a change from the run and shows its answer. The button cannot be pressed again until then. */
export async function ask(button, path, body) {
  const answer = document.getElementById("answer");
  const hadFocus = document.activeElement === button;
  answer.hidden = false;
  button.disabled = true;
  try {
    const response = await fetch(path, { method: "POST", body: body ? JSON.stringify(body) : undefined });
    answer.classList.toggle("wrong", !response.ok);
    say(answer, (await response.text()).trim());
    return response.ok;
  } catch {
    answer.classList.add("wrong");
    say(answer, "The run cannot be reached.");
    return false;
  } finally {
    button.disabled = false;
    // A disabled button loses the keyboard's focus.
    if (hadFocus && document.activeElement === document.body) button.focus();
  }
}

/** Wires the buttons and the form. */
export function wireControls() {
  document.getElementById("drain").onclick = ({ currentTarget }) => {
    if (confirm("End all streams and finish what is in flight?")) ask(currentTarget, "/drain");
  };
  document.getElementById("stop").onclick = ({ currentTarget }) => {
    if (confirm("Stop at once? What is in flight is given up and counted.")) ask(currentTarget, "/stop");
  };
  document.getElementById("add").onsubmit = async (event) => {
    event.preventDefault();
    const [name, uri] = ["add-name", "add-uri"].map((id) => document.getElementById(id));
    const form = event.target;
    const button = form.querySelector("button");
    if (await ask(button, "/streams/add", { name: name.value, uri: uri.value })) form.reset();
  };
}

/** Shows the controls that this run allows. */
export function allow({ graph, takes_files: takesFiles }) {
  document.getElementById("add-stream").hidden = !graph.takes_streams;
  const hint = takesFiles
    ? "rtsp, rtsps, http, https, a file or a device of this machine."
    : "rtsp, rtsps, http or https.";
  say(document.getElementById("add-hint"), hint);
}
