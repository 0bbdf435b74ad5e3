// The live view of one pin: its events, and whether they still come.

import { ask, pathOf } from "./service.js";

// In milliseconds. Between two attempts to come back to a service that answers, but not with events.
const AGAIN = 3000;
// A view that has been cut off for so long is called stale.
const STALE = 10000;
// Between two questions whether the service is still there: a network that has gone away closes no connection.
const PROBE = 30000;
const PROBE_LIMIT = 10000;

const EVENTS = ["state", "key", "node", "counts"];

// Tells `on[event](data)` of each event, `on.link("live" | "reconnecting" | "stale")`, and `on.gone(reason)` once at the end.
export function watch(pin, on) {
  let source = null;
  let ended = false;
  let link = "";
  let staleTimer = 0;
  let againTimer = 0;

  function setLink(state) {
    if (state === link || ended) return;
    link = state;
    on.link(state);
  }

  function connect() {
    if (ended) return;
    source = new EventSource(pathOf(pin, "/events"));
    source.onopen = () => {
      clearTimeout(staleTimer);
      staleTimer = 0;
      setLink("live");
    };
    source.onerror = () => {
      lost();
      // A browser comes back by itself, unless it got an answer that is no stream: the pin is gone, or there is no room.
      if (source.readyState === EventSource.CLOSED) rejoinLater();
    };
    for (const name of EVENTS) source.addEventListener(name, (event) => on[name](JSON.parse(event.data)));
    source.addEventListener("gone", (event) => end(JSON.parse(event.data).reason));
  }

  function lost() {
    if (link !== "stale") setLink("reconnecting");
    staleTimer ||= setTimeout(() => setLink("stale"), STALE);
  }

  function rejoinLater() {
    clearTimeout(againTimer);
    againTimer = setTimeout(rejoin, AGAIN);
  }

  async function rejoin() {
    try {
      await ask("GET", pathOf(pin));
    } catch (problem) {
      if (problem.kind === "unknown") return end("unknown");
      return rejoinLater();
    }
    connect();
  }

  async function probe() {
    if (ended || source.readyState !== EventSource.OPEN) return;
    try {
      await fetch(pathOf(pin), { cache: "no-store", signal: AbortSignal.timeout(PROBE_LIMIT) });
    } catch {
      if (ended) return;
      source.close();
      lost();
      rejoinLater();
    }
  }

  function close() {
    ended = true;
    source.close();
    clearTimeout(staleTimer);
    clearTimeout(againTimer);
    clearInterval(prober);
    removeEventListener("online", probe);
  }

  function end(reason) {
    if (ended) return;
    close();
    on.gone(reason);
  }

  const prober = setInterval(probe, PROBE);
  addEventListener("online", probe);
  setLink("reconnecting");
  connect();
  return { close };
}
