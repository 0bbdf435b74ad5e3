// The pairing page: makes or opens a pin, fills both contexts, shows the cluster come up. It uses nothing but API v1.

import * as contexts from "./cluster_pairing/contexts.js";
import { follow } from "./cluster_pairing/follow.js";
import "./cluster_pairing/launch.js";
import { Picture } from "./cluster_pairing/picture.js";
import { isSecret, makeSecret } from "./cluster_pairing/seal.js";
import { CLUSTERS, Problem, SERVICE_URL, ask, pathOf } from "./cluster_pairing/service.js";
import * as status from "./cluster_pairing/status.js";
import { $, copyButton, on, say, show } from "./cluster_pairing/view.js";

// Pin and secret outlive a reload in this tab and no longer; an address bar or a history is no place for them.
const PIN = "pin";
const SECRET = "secret";

const PIN_FORM = /^[a-z0-9]{12}$/;

let followed = null;
// What the problem that is shown was about, to be tried again.
let again = null;

function complain(problem, retry = null) {
  $("problem-title").textContent = problem?.message ?? "";
  $("problem-next").textContent = problem?.next ?? "";
  show("problem", Boolean(problem));
  again = retry;
  show("again", Boolean(problem && retry && problem.kind !== "token"));
  show("token-form", problem?.kind === "token");
  if (problem?.kind === "token") $("token").focus();
}

async function attempt(work) {
  complain(null);
  document.body.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (problem) {
    complain(problem, ["refused", "unknown"].includes(problem.kind) ? null : work);
  }
  document.body.removeAttribute("aria-busy");
}

function remember(pin, secret) {
  for (const [name, value] of [[PIN, pin], [SECRET, secret]]) {
    if (value) sessionStorage.setItem(name, value);
    else sessionStorage.removeItem(name);
  }
}

function openCluster(pin, secret = null) {
  followed?.close();
  remember(pin, secret);
  complain(null);
  $("pin").value = pin;
  show("start", false);
  show("cluster", true);
  followed = follow(pin, {
    changed: () => {
      if (followed.cluster.over) remember(null, null);
      status.draw();
    },
    link: (state) => {
      status.setLink(state);
      if (state === "live") contexts.retry();
    },
  });
  status.open(followed);
  status.setLink("reconnecting");
  followed.unlock(secret);
  contexts.open(pin, secret, (other) => {
    remember(pin, other);
    followed.unlock(other);
  });
}

function closeCluster() {
  followed?.close();
  followed = null;
  status.open(null);
  show("link", false);
  remember(null, null);
  complain(null);
  show("cluster", false);
  show("start", true);
  document.title = "Cluster pairing";
  $("known").value = "";
  $("create").focus();
}

async function create(token) {
  const { pin } = await ask("POST", CLUSTERS, { token });
  $("token").value = "";
  openCluster(pin, makeSecret());
  say("A pin was made.");
}

// Opens a pin, or the link of one.
async function openPin(text, secret = null) {
  const pin = text.trim().toLowerCase().split("#").pop();
  if (!PIN_FORM.test(pin)) {
    throw new Problem("refused", "This is no pin.", "A pin has 12 letters and digits: copy it again.");
  }
  await ask("GET", pathOf(pin));
  openCluster(pin, secret);
}

// A link to a cluster has its pin behind the #, where browsers keep it to themselves; it is taken out of the address and the
// history at once.
function openLink() {
  const linked = location.hash.slice(1);
  if (!linked) return false;
  history.replaceState(null, "", location.pathname + location.search);
  const isKnown = linked.trim().toLowerCase() === sessionStorage.getItem(PIN);
  attempt(() => openPin(linked, isKnown ? sessionStorage.getItem(SECRET) : null));
  return true;
}

for (const id of ["create", "create-another"]) on(id, "click", () => attempt(() => create()));

on("follow", "submit", (event) => {
  event.preventDefault();
  attempt(() => openPin($("known").value));
});

on("token-form", "submit", (event) => {
  event.preventDefault();
  attempt(() => create($("token").value.trim()));
});

on("unlock", "submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const secret = $("secret").value.trim();
    const isRight = isSecret(secret) && await followed.unlock(secret);
    if (!isRight) throw new Problem("refused", "This secret does not open this cluster.", "Copy it again from one of its contexts.");
    $("secret").value = "";
    remember(followed.cluster.pin, secret);
    contexts.setSecret(secret);
  });
});

on("again", "click", () => attempt(again));
on("another", "click", closeCluster);
on("back", "click", closeCluster);
on("delete", "click", () => $("confirm").showModal());
on("confirm", "close", () => {
  if ($("confirm").returnValue === "delete") attempt(() => ask("DELETE", pathOf(followed.cluster.pin)));
  $("confirm").returnValue = "";
});

copyButton($("copy-pin"), () => $("pin").value);
copyButton($("copy-link"), () => `${SERVICE_URL}/cluster_pairing#${$("pin").value}`);
addEventListener("hashchange", openLink);

// How a cluster looks, for those who have none yet.
const example = [..."rrrjjw"].map((state, at) =>
  ({ id: `${at}`, name: "", state: { r: "ready", j: "joined", w: "waiting" }[state] }));
new Picture($("example")).draw("ready", "", example);

const remembered = sessionStorage.getItem(PIN);
if (!openLink() && remembered) attempt(() => openPin(remembered, sessionStorage.getItem(SECRET)));
