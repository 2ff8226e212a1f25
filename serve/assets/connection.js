// The WebSocket to the run. It is reopened whenever it is lost; the token is sent first if one is required.

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

export class Connection {
  #socket = null;
  #wait = FIRST_WAIT_MS;
  #timer = 0;
  #isOver = false;

  /**
   * @param {{text: (message: object) => void, picture: (message: ArrayBuffer) => void,
   *   state: (name: "connecting" | "open" | "lost" | "over" | "locked") => void}} listener
   */
  constructor(listener) {
    this.listener = listener;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.#socket && this.#timer) this.open();
    });
  }

  /** Opens the connection, and keeps reopening it. */
  async open() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const access = await this.#access();
    if (access === "locked") {
      this.listener.state("locked");
      return;
    }
    if (access === "lost") {
      this.#again();
      return;
    }
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#wait = FIRST_WAIT_MS;
      this.#isOver = false;
      this.listener.state("open");
    };
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = () => {
      this.#socket = null;
      this.#again();
    };
    this.#socket = socket;
  }

  /** Sends a message to the run; lost if there is no connection. */
  say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #hear(data) {
    if (typeof data !== "string") {
      this.listener.picture(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.numbers?.run === "over") this.#isOver = true;
    this.listener.text(message);
  }

  #again() {
    this.listener.state(this.#isOver ? "over" : "lost");
    this.#timer = setTimeout(() => this.open(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
  }

  async #access() {
    const token = new URLSearchParams(location.hash.slice(1)).get("token");
    if (token) {
      const given = await signIn(token);
      // Removes the token from the address, which may be copied or seen.
      if (given !== "lost") history.replaceState(null, "", location.pathname);
      return given;
    }
    try {
      const answer = await fetch("/session");
      return answer.status === 401 ? "locked" : answer.ok ? "open" : "lost";
    } catch {
      return "lost";
    }
  }
}

/** Exchanges the token for a cookie: `open`, `locked` if it is wrong, `lost` if there is no answer. */
export async function signIn(token) {
  try {
    const answer = await fetch("/session", { method: "POST", body: JSON.stringify({ token }) });
    return answer.ok ? "open" : answer.status === 401 ? "locked" : "lost";
  } catch {
    return "lost";
  }
}
