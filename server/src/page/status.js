// The view of one cluster: headline, picture, numbers, timeline, keys and nodes.

import { STATES, countsOf, headline } from "./cluster.js";
import { Picture } from "./picture.js";
import { isSealed } from "./seal.js";
import { now } from "./service.js";
import { $, clock, compare, el, number, on, say, show, span, write } from "./view.js";

// Rows of a list that are drawn at most.
const ROWS = 1000;
const ENTRIES = 60;
// Failed nodes that are named below the headline; the others are in the list of nodes.
const FAILED = 3;
// A pin that ends in less than this needs a look. In milliseconds.
const SOON = 3600_000;

// The columns of a table: the head, what is in the cell of an item, and the cell's attributes.
const KEY_COLUMNS = [
  ["Key", (key) => el("code", {}, key.name)],
  ["Value", ({ name, modified, text }) => text === null ? revealButton(name, modified)
    : el("code", { tabindex: 0, role: "group", "aria-label": `Value of ${name}` }, text)],
  ["Set", () => "", (key) => age(Date.parse(key.modified))],
];
const NODE_COLUMNS = [
  ["Name", (node) => node.name],
  ["Role", (node) => node.role],
  ["State", (node) => node.state, (node) => ({ class: node.state })],
  ["Address", (node) => node.address],
  ["Reported", () => "", (node) => age(node.reported)],
  ["Detail", (node) => node.detail],
];

// The order of the nodes' list.
const URGENT = ["failed", "waiting", "joined", "ready", "sealed"];
const LINKS = { live: "Live", reconnecting: "Reconnecting…", stale: "Stale" };

const picture = new Picture($("picture"));
let followed = null;
let isDrawing = false;
let said = "";
// When the events broke off.
let heard = 0;
// The values that were asked for, by name, and when the key was set then.
let revealed = new Map();

// Shows what is followed from now on.
export function open(following) {
  followed = following;
  revealed = new Map();
  $("nodes-box").open = false;
}

export function setLink(state) {
  $("link").hidden = !followed;
  $("link").className = `badge ${state}`;
  if (state === "reconnecting") heard = now();
  write($("link"), state === "stale" ? `${LINKS.stale}: as of ${clock(heard)}` : LINKS[state]);
  $("cluster").classList.toggle("stale", state === "stale");
}

// Draws once per frame, however much has happened.
export function draw() {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    if (followed) drawNow(followed.cluster);
  });
}

// A hidden tab has no frames, and its title is all that is seen of it.
document.addEventListener("visibilitychange", draw);

function drawNow(cluster) {
  const { tone, title, words } = headline(cluster);
  $("cluster").dataset.tone = tone;
  // Who listens is not told of each node: only of another kind of news.
  const kind = tone + title.replace(/\d/g, "");
  if (kind !== said) say(`${title}. ${words}`);
  said = kind;
  write($("headline"), title);
  write($("words"), words);
  document.title = `${title} · Cluster pairing`;
  const slaves = cluster.slaves();
  const counts = countsOf(slaves);
  picture.draw(cluster.master(), cluster.clear("master_ip"), slaves);
  drawCounts(counts);
  drawFailed(slaves);
  drawTimeline(cluster);
  drawKeys(cluster);
  drawNodes(cluster);
  show("facts", cluster.entries.length > 1);
  show("unlock", cluster.isLocked() && !cluster.over && Boolean(crypto.subtle));
  show("over", Boolean(cluster.over));
  show("alive", !cluster.over);
  for (const id of ["another", "delete", "contexts", "launch"]) show(id, !cluster.over);
  if (cluster.over) show("link", false);
  tick();
}

function drawCounts(counts) {
  const items = STATES.filter((state) => counts[state]).map((state) => ({ state, count: counts[state] }));
  list($("counts"), items, ({ state, count }) => el("li", { class: state }, `${number(count)} ${state}`));
}

function drawFailed(slaves) {
  const failed = slaves.filter(({ state }) => state === "failed");
  const items = failed.slice(0, FAILED).map(({ name, detail }) => ({ name, text: detail || "It gives no reason." }));
  if (failed.length > FAILED) items.push({ name: `${failed.length - FAILED} more`, text: "The list of nodes has them." });
  list($("failed"), items, ({ name, text }) => el("li", {}, el("strong", {}, name), ` ${text}`));
}

function drawTimeline(cluster) {
  const items = cluster.timeline().slice(0, ENTRIES).map(({ time, text, tone }) => ({ time, text, tone }));
  list($("timeline"), items, ({ time, text, tone }) =>
    el("li", tone ? { class: tone } : {}, el("time", { datetime: new Date(time).toISOString() }, clock(time)), el("span", {}, text)));
}

function drawKeys(cluster) {
  show("no-keys", cluster.keys.size === 0);
  show("keys-table", cluster.keys.size > 0);
  const items = [...cluster.keys.values()].map(({ key: name, modified }) => {
    const known = revealed.get(name);
    const text = known?.modified === modified ? known.text : cluster.clear(name) || null;
    return { name, modified, text };
  });
  rows($("keys"), items, KEY_COLUMNS);
}

function revealButton(name, modified) {
  const button = el("button", { type: "button", class: "small", "aria-label": `Show the value of ${name}` }, "Show");
  button.addEventListener("click", async () => {
    try {
      const text = await followed.value(name);
      revealed.set(name, { modified, text: isSealed(text) ? "sealed: only the cluster can read it" : text });
      drawKeys(followed.cluster);
      $("keys").querySelector(`[aria-label="Value of ${CSS.escape(name)}"]`)?.focus();
      tick();
    } catch (problem) {
      say(problem.message);
    }
  });
  return button;
}

function drawNodes(cluster) {
  show("nodes-box", cluster.nodes.size > 0);
  write($("nodes-count"), `Nodes (${number(cluster.nodes.size)})`);
  if (!$("nodes-box").open) return;
  const items = [...cluster.nodes.values()].map(({ id, reported, report }) => ({
    reported, name: report?.name || id.slice(0, 8), state: report?.state ?? "sealed", role: report?.role ?? "",
    address: report?.addresses?.[0] ?? "", detail: report?.detail ?? "",
  }));
  items.sort((one, other) => URGENT.indexOf(one.state) - URGENT.indexOf(other.state)
    || compare(one.role, other.role) || compare(one.name, other.name));
  rows($("nodes"), items.slice(0, ROWS), NODE_COLUMNS);
  show("more-nodes", items.length > ROWS);
  write($("more-nodes"), `The first ${number(ROWS)} are shown, those that have failed first.`);
}

function age(time) { return { "data-since": time, title: clock(time) }; }

// Fills a table: its heads, and a row for each item. The first column names the row.
function rows(body, items, columns) {
  list(body.previousElementSibling.rows[0], columns, ([head]) => el("th", { scope: "col" }, head));
  list(body, items, (item) => el("tr", {}, ...columns.map(([, content, attributes], at) =>
    at ? el("td", attributes?.(item), content(item)) : el("th", { scope: "row" }, content(item)))));
}

// Makes a child of each item. Those whose item is as it was stay: so do a selection and the focus in them.
function list(parent, items, make) {
  items.forEach((item, at) => {
    const as = JSON.stringify(item);
    const there = parent.children[at];
    if (there?.madeAs === as) return;
    const child = make(item);
    child.madeAs = as;
    if (there) there.replaceWith(child);
    else parent.append(child);
  });
  while (parent.children.length > items.length) parent.lastElementChild.remove();
}

// What changes with the time alone.
function tick() {
  if (!followed) return;
  const { expires, over } = followed.cluster;
  if (expires) {
    $("expires").dateTime = new Date(expires).toISOString();
    write($("expires"), clock(expires));
    const left = expires - now();
    write($("left"), over ? "" : `(${span(left)} left)`);
    $("left").classList.toggle("soon", left < SOON);
  }
  for (const cell of document.querySelectorAll("[data-since]")) write(cell, `${span(now() - Number(cell.dataset.since))} ago`);
}

on("nodes-box", "toggle", draw);
setInterval(tick, 1000);
