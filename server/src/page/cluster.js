// What is known of one cluster, and what it means: who is there, how far the master is, what happened when.

import { isSealed } from "./seal.js";
import { now } from "./service.js";
import { compare, number, plural } from "./view.js";

// How a slave is; the last is one whose report this browser cannot open.
export const STATES = ["waiting", "joined", "ready", "failed", "sealed"];

// Entries of the timeline that are kept, and how far apart nodes may be in one of them, in milliseconds.
const ENTRIES = 500;
const TOGETHER = 60_000;
const DOES = { waiting: ["waits", "wait"], joined: ["has joined", "have joined"], ready: ["is ready", "are ready"],
  failed: ["has failed", "have failed"] };
const TONES = { joined: "busy", ready: "good", failed: "bad" };
const DELETED = { master_ip: "The master's address was deleted", master_ready: "The master is no longer ready" };

export class Cluster {
  constructor(pin) {
    // `over`: why there is nothing more to come, "expired", "deleted" or "unknown".
    Object.assign(this, { pin, expires: null, waiting: 0, over: null });
    // By name, as the events tell them; `opened` is the value in the clear where that is known.
    this.keys = new Map();
    // By identifier; `report` is null while it is sealed.
    this.nodes = new Map();
    this.entries = [];
  }

  takeState(state) {
    this.expires = Date.parse(state.expiry_time);
    this.waiting = state.waiting;
    this.note(Date.parse(state.creation_time), "The pin was made");
    const there = new Set(state.keys.map(({ key }) => key));
    for (const name of this.keys.keys()) if (!there.has(name)) this.takeKey({ change: "deleted", key: name });
    for (const key of state.keys) this.takeKey(key);
  }

  takeKey(change) {
    const { from, key: name, created, modified } = change;
    const known = this.keys.get(name);
    if (change.change === "deleted") {
      this.keys.delete(name);
      this.note(now(), DELETED[name] ?? `Key ${name} was deleted`, "bad");
      return;
    }
    // What is told may be in the state already.
    if (known?.modified === modified) return;
    this.keys.delete(from);
    this.keys.set(name, change);
    const [time, isNew] = [Date.parse(modified), !known && created === modified];
    if (from) this.note(time, `Key ${from} was renamed to ${name}`);
    else if (name === "master_ip") this.note(time, `The master has sent ${isNew ? "its" : "another"} address`, "busy");
    else if (name === "master_ready") this.note(time, "The master is ready", "good");
    else this.note(time, `Key ${name} was ${isNew ? "set" : "changed"}`);
  }

  takeNode({ change, id, reported, report }) {
    if (change === "deleted") this.nodes.delete(id);
    else this.setNode(id, Date.parse(reported), report ?? null);
  }

  setNode(id, reported, report) {
    const before = this.nodes.get(id)?.report?.state;
    this.nodes.set(id, { id, reported, report });
    // A master's other states are in its keys.
    if (!report || report.state === before || (report.role === "master" && ["joined", "ready"].includes(report.state))) return;
    const name = report.role === "master" ? "The master" : report.name || id.slice(0, 8);
    this.noteNode(reported, name, report.state, report.detail);
  }

  note(time, text, tone) {
    if (!this.entries.some((entry) => entry.time === time && entry.text === text)) this.add({ time, text, tone });
  }

  // Nodes that come into one state at about the same time are one entry.
  noteNode(time, name, state, detail) {
    const group = state !== "failed" && this.entries.find((entry) => entry.state === state && Math.abs(time - entry.since) < TOGETHER);
    if (!group) return this.add({ time, since: time, names: new Set([name]), state, detail, tone: TONES[state] });
    group.names.add(name);
    group.time = Math.max(group.time, time);
    this.sort();
  }

  add(entry) {
    this.entries.push(entry);
    this.sort();
    if (this.entries.length > ENTRIES) this.entries.shift();
  }

  sort() { this.entries.sort((one, other) => one.time - other.time); }

  // What happened, the latest first.
  timeline() {
    return this.entries.toReversed().map((entry) => (entry.names ? { ...entry, text: sentence(entry) } : entry));
  }

  // The value of a key: null where there is none, "" where it cannot be read here.
  clear(name) {
    const key = this.keys.get(name);
    return key ? key.opened ?? (isSealed(key.value) ? "" : key.value ?? "") : null;
  }

  // Whether something of it is sealed and was not opened here.
  isLocked() {
    return (this.keys.has("master_ip") && !this.clear("master_ip")) || [...this.nodes.values()].some((node) => !node.report);
  }

  // "none", "booting", "ready", "failed", or "replaced" where another address is what is ready.
  master() {
    if (this.masterNode()?.report.state === "failed") return "failed";
    const [address, ready] = [this.clear("master_ip"), this.clear("master_ready")];
    if (address === null) return "none";
    if (ready === null) return "booting";
    if (address && ready) return isReadyFor(ready, address) ? "ready" : "replaced";
    // Neither can be read here: an address that came after the sign is not what the sign is for.
    const [sent, said] = ["master_ip", "master_ready"].map((name) => this.keys.get(name).modified);
    return Date.parse(said) >= Date.parse(sent) ? "ready" : "replaced";
  }

  masterNode() { return [...this.nodes.values()].find(({ report }) => report?.role === "master"); }

  // The nodes but for the master, then those that wait and do not report.
  slaves() {
    const slaves = [...this.nodes.values()].filter(({ report }) => report?.role !== "master").map(({ id, report }) =>
      ({ id, name: report?.name || id.slice(0, 8), state: report?.state ?? "sealed", detail: report?.detail }));
    const seen = slaves.filter(({ state }) => ["waiting", "sealed"].includes(state)).length;
    for (let at = seen; at < this.waiting; at += 1) slaves.push({ id: `waiting ${at}`, name: "", state: "waiting" });
    return slaves;
  }
}

// Three are named; of more, two.
function sentence({ names, state, detail }) {
  const [one, many] = DOES[state];
  const sorted = [...names].sort(compare);
  if (sorted.length === 1) return `${sorted[0]} ${one}${state === "failed" && detail ? `: ${detail}` : ""}`;
  const last = sorted.length > 3 ? `${number(sorted.splice(2).length)} more` : sorted.pop();
  return `${sorted.join(", ")} and ${last} ${many}`;
}

// As the agents take it: what is no address is a yes or a no.
function isReadyFor(ready, address) {
  const isAddress = /^[\d.]+\.\d+$|:/.test(ready);
  return isAddress ? ready === address : !["no", "off", "false", "0"].includes(ready.toLowerCase());
}

// How many slaves are in each state.
export function countsOf(slaves) {
  const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
  for (const { state } of slaves) counts[state] += 1;
  return counts;
}

// The one line that says how it is, a sentence on what comes next, and a tone for its colour.
export function headline(cluster) {
  const line = (tone, title, words) => ({ tone, title, words });
  if (cluster.over) {
    return line("bad", ENDS[cluster.over], "VMs that boot now do not find each other by it. Those that have joined keep what they have.");
  }
  if (!cluster.expires) return line("wait", "Connecting…", "");
  const slaves = cluster.slaves();
  const { waiting, ready, failed, sealed } = countsOf(slaves);
  const known = slaves.length - sealed;
  const waits = waiting ? `${plural(waiting, "slave waits", "slaves wait")} for it.` : "";
  const master = cluster.master();
  if (master === "failed") return line("bad", "The master has failed", `${cluster.masterNode().report.detail} ${waits}`);
  if (failed) {
    return line("bad", `Failed: ${number(failed)} of ${number(known)}`,
      "In a VM that has failed, cernvm-cluster-agent doctor says more.");
  }
  if (master === "none") {
    return line("wait", "Waiting for the master", waits || "Launch the master and the slaves with the contexts below, in any order.");
  }
  if (master === "booting") return line("busy", "The master boots", `It has sent its address. ${waits || "Slaves go on once it is ready."}`);
  if (master === "replaced") {
    return line("busy", "Waiting for the new master", `Another master has sent its address and is not ready yet. ${waits}`);
  }
  if (!known) {
    return line("good", "The master is ready", sealed ? `${plural(sealed, "node has", "nodes have")} reported. The reports are sealed.`
      : "Slaves that come now join at once.");
  }
  const title = `Ready: ${number(ready)} of ${number(known)}`;
  return ready === known ? line("good", title, "The master and all known slaves are ready.")
    : line("busy", title, "The master is ready. The other slaves boot.");
}

const ENDS = { expired: "The pin has expired", deleted: "The pin was deleted", unknown: "The service no longer knows the pin" };
