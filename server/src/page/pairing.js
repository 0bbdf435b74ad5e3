"use strict";
// The pairing page: makes a pin, fills both contexts, shows the cluster come up. It uses nothing but API v1.

const PLACEHOLDER = "###MASTER_IP_PLACEHOLDER###";
const SEALED = /^v1\.[A-Za-z0-9_-]{38,}$/;
const SECTION = /\[ucernvm-begin\][\s\S]*?\[ucernvm-end\]\n?/;
// Pin and secret outlive a reload in this tab and no longer; an address bar or a history is no place for them.
const REMEMBERED = "pin";
const SECRET = "secret";
// Between two attempts to come back to a service that answers, but not with events. In milliseconds.
const AGAIN = 3000;

const $ = (id) => document.getElementById(id);
const api = (pin, rest = "") => `api/v1/clusters/${pin}${rest}`;

let pin = null;
// What the agents seal the cluster's values with; null where they do not. It never leaves the browser but in a context.
let secret = null;
// The one that this page made before the person chose not to seal.
let dropped = null;
let stream = null;
let keys = new Map();
// Whether a wait was seen under this pin.
let waited = false;

function say(text) { $("said").textContent = text; }

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

async function ask(method, path) {
  let answer;
  try {
    answer = await fetch(path, { method, headers: { Accept: "application/json" } });
  } catch {
    throw new Error("The service cannot be reached. Is it still running?");
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const detail = await answer.json().then((body) => body.detail, () => "");
  const error = answer.status === 404
    ? new Error("The service does not know this pin: it was never made here, has expired, or was deleted.")
    : new Error(`The service answered ${answer.status}. ${detail || ""}`);
  error.status = answer.status;
  throw error;
}

// Where the VMs reach the service and how they know it. The service says so; without that, it is where this page is.
function serviceSettings() {
  const settings = document.querySelector("meta[name=cvm-settings]").content.split(" ").filter(Boolean);
  if (settings.some((line) => line.startsWith("cvm_service_url="))) return settings;
  const path = location.pathname.replace(/\/cluster_pairing\/?$/, "");
  return [`cvm_service_url=${location.origin}${path}`, ...settings];
}

// 32 random bytes in base64url without padding, as the agent reads them.
function makeSecret() {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  const base64 = btoa(String.fromCharCode(...bytes));
  return base64.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function section(role) {
  const lines = ["[ucernvm-begin]"];
  if (role === "master") lines.push("cvm_cluster_master=yes");
  lines.push(`cvm_cluster_pin=${pin}`);
  if (secret) lines.push(`cvm_cluster_secret=${secret}`);
  lines.push(...serviceSettings());
  return `${lines.join("\n")}\n[ucernvm-end]\n`;
}

// What the person has written stays; only our own lines in the section are set.
function fill(role) {
  const area = $(role);
  const found = area.value.match(SECTION);
  if (!found) {
    const before = area.value.trim() ? `${area.value.trimEnd()}\n\n` : starter(role);
    area.value = before + section(role);
    return;
  }
  const ours = section(role).split("\n");
  const set = new Set([...ours.map((line) => line.split("=")[0]), "cvm_cluster_master"]);
  const kept = found[0].split("\n").slice(1)
    .filter((line) => line && !set.has(line.split("=")[0].trim()) && !line.startsWith("[ucernvm-end]"))
    .filter((line) => line !== `cvm_cluster_secret=${dropped}`);
  ours.splice(ours.indexOf("[ucernvm-end]"), 0, ...kept);
  area.value = area.value.replace(SECTION, () => ours.join("\n"));
}

function starter(role) {
  return role === "slave" ? `[example_section]\nmy_master_ip=${PLACEHOLDER}\n\n` : "";
}

function hint() {
  $("slave-hint").hidden = /###[A-Z][A-Z0-9_]*_PLACEHOLDER###/.test($("slave").value);
}

function when(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? text : time.toLocaleString();
}

function stage(id, state, text) {
  const item = $(id);
  item.className = state;
  const words = item.querySelector("span");
  if (words.textContent !== text) words.textContent = text;
}

function drawKeys() {
  const address = keys.get("master_ip");
  const ready = keys.get("master_ready");
  // Only the cluster can open its address.
  const shown = address && (SEALED.test(address.value) ? "its address is sealed" : address.value);
  stage("stage-address", address ? "done" : "", address ? `${shown} (sent ${when(address.modified)})` : "has not sent its address yet");
  stage("stage-ready", ready ? "done" : "", ready ? `since ${when(ready.modified)}` : "the master is still booting");
  const rows = [...keys.values()].map((key) => {
    const row = document.createElement("tr");
    const value = SEALED.test(key.value ?? "") ? "(sealed)" : key.value ?? "(not shown)";
    for (const text of [key.key, value, when(key.modified)]) {
      row.insertCell().textContent = text;
    }
    return row;
  });
  $("keys").replaceChildren(...rows);
}

function drawExpiry({ expiry_time: expires }) {
  $("expires").textContent = when(expires);
  $("expires").dateTime = expires;
}

function drawCounts({ waiting }) {
  waited = waited || waiting > 0;
  if (waiting) stage("stage-slaves", "", `${waiting} waiting now`);
  else stage("stage-slaves", waited ? "done" : "", waited ? "none is waiting any more" : "none is waiting");
}

const ENDS = {
  expired: "the pin has expired",
  deleted: "the pin was deleted",
  unknown: "the service does not know the pin any more",
};

function drawGone(reason) {
  stream.close();
  const text = ENDS[reason];
  $("keys").replaceChildren();
  for (const id of ["stage-address", "stage-ready", "stage-slaves"]) stage(id, "lost", text);
  $("link").textContent = "";
  $("delete").hidden = true;
  for (const item of [REMEMBERED, SECRET]) sessionStorage.removeItem(item);
  complain(`This is over: ${text}. Slaves that come now will not find the master.`);
}

function watch() {
  stream?.close();
  stream = new EventSource(api(pin, "/events"));
  stream.onopen = () => { $("link").textContent = "live"; };
  stream.onerror = () => {
    $("link").textContent = "connection lost, trying again";
    // A browser comes back by itself, unless it got an answer that is no stream: then the pin is gone, or there is no room.
    if (stream.readyState === EventSource.CLOSED) setTimeout(rejoin, AGAIN, pin);
  };
  const on = (name, act) => stream.addEventListener(name, (event) => act(JSON.parse(event.data)));
  on("state", (state) => {
    keys = new Map(state.keys.map((key) => [key.key, key]));
    drawExpiry(state);
    drawKeys();
    drawCounts(state);
  });
  on("key", (change) => {
    if (change.from) keys.delete(change.from);
    if (change.change === "deleted") keys.delete(change.key);
    else keys.set(change.key, change);
    drawKeys();
  });
  on("counts", drawCounts);
  on("gone", ({ reason }) => drawGone(reason));
}

async function rejoin(followed) {
  if (followed !== pin) return;
  try {
    await ask("GET", api(pin));
  } catch (error) {
    if (error.status === 404) return drawGone("unknown");
  }
  if (followed === pin) watch();
}

function remember() {
  sessionStorage.setItem(REMEMBERED, pin);
  if (secret) sessionStorage.setItem(SECRET, secret);
  else sessionStorage.removeItem(SECRET);
}

function show(cluster, itsSecret = null) {
  pin = cluster.pin;
  secret = itsSecret;
  remember();
  $("sealed").checked = secret !== null;
  complain("");
  $("pin").value = pin;
  for (const id of ["pin-box", "contexts", "live", "delete"]) $(id).hidden = false;
  for (const role of ["master", "slave"]) fill(role);
  hint();
  keys = new Map();
  drawKeys();
  waited = false;
  drawCounts({ waiting: 0 });
  watch();
}

async function attempt(work) {
  try { await work(); } catch (error) { complain(error.message); }
}

$("create").addEventListener("click", () => attempt(async () => {
  show(await ask("POST", "api/v1/clusters"), makeSecret());
  say("A pin was created.");
}));

$("follow").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => show(await ask("GET", api($("known").value.trim()))));
});

$("delete").addEventListener("click", () => attempt(async () => {
  if (!confirm("Delete the pin and all its keys? Slaves that still wait will give up.")) return;
  await ask("DELETE", api(pin));
}));

$("sealed").addEventListener("change", () => {
  dropped = secret;
  secret = $("sealed").checked ? makeSecret() : null;
  remember();
  for (const role of ["master", "slave"]) fill(role);
});

$("slave").addEventListener("input", hint);
for (const role of ["master", "slave"]) {
  // A context that was pasted whole gets our lines once the person leaves the field.
  $(role).addEventListener("change", () => { fill(role); hint(); });
}

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = $(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.value);
    } catch {
      // Plain http has no clipboard; the old way needs a selection.
      const area = document.createElement("textarea");
      area.value = source.value;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    say("Copied.");
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => {
    const role = button.dataset.save;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([$(role).value], { type: "text/plain" }));
    link.download = `${role}-context.txt`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

const remembered = sessionStorage.getItem(REMEMBERED);
if (remembered) {
  attempt(async () => {
    try {
      show(await ask("GET", api(remembered)), sessionStorage.getItem(SECRET));
    } catch (error) {
      for (const item of [REMEMBERED, SECRET]) sessionStorage.removeItem(item);
      throw error;
    }
  });
}
