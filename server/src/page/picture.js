// The picture of a cluster: the master in the middle, the slaves around it. Its looks are in the style sheet.

import { STATES, countsOf } from "./cluster.js";
import { number, plural, set } from "./view.js";

// The size of the drawing, in its own units, its middle, and how far from there slaves are at most.
const [WIDTH, HEIGHT, X, Y, RX, RY] = [640, 350, 320, 175, 285, 155];
// So many slaves stand on one ring, each with a line and a name; more of them fill the plane.
const RING = 14;
const [RING_X, RING_Y] = [RX * 0.85, RY * 0.76];
// Of more than so many, only the numbers are drawn.
const SINGLE = 1000;
// The part of the plane that the master takes.
const INNER = 0.17;
const GOLDEN = Math.PI * (3 - Math.sqrt(5));
const NAME = 14;

const CIRCLE = "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z";
// States differ in shape, not in colour alone.
const SHAPES = { waiting: CIRCLE, joined: `${CIRCLE}M-.45 0a.45.45 0 1 0 .9 0a.45.45 0 1 0-.9 0z`, ready: CIRCLE,
  failed: "M0-1.2L1.2 0L0 1.2L-1.2 0z", sealed: "M-.9-.9H.9V.9H-.9z" };
const MASTER = { none: "not seen yet", booting: "boots", replaced: "boots", ready: "ready", failed: "failed" };

export class Picture {
  constructor(root) {
    this.root = root;
    root.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    // By identifier.
    this.drawn = new Map();
    this.make("ellipse", { cx: X, cy: Y, rx: RING_X, ry: RING_Y }, root);
    this.lines = this.make("g", {}, root);
    this.slaves = this.make("g", {}, root);
    this.master = this.make("g", {}, root);
    this.make("rect", { x: X - 66, y: Y - 31, width: 132, height: 62, rx: 12 }, this.master);
    this.make("text", { x: X, y: Y - 3 }, this.master).textContent = "master";
    this.state = this.make("text", { x: X, y: Y + 16, class: "small" }, this.master);
  }

  make(name, attributes, parent) {
    return parent.appendChild(set(document.createElementNS(this.root.namespaceURI, name), attributes));
  }

  // `master` is a state of the master, `slaves` are as the cluster lists them.
  draw(master, address, slaves) {
    const counts = countsOf(slaves);
    this.root.setAttribute("aria-label", summary(master, address, counts, slaves.length));
    this.master.setAttribute("class", `master ${master}`);
    this.state.textContent = address && address.length < 16 ? address : MASTER[master];
    const shown = slaves.length > SINGLE ? groups(counts) : slaves;
    this.root.classList.toggle("crowd", shown.length > RING);
    const there = new Set(shown.map(({ id }) => id));
    for (const [id, { node, line }] of this.drawn) {
      if (there.has(id)) continue;
      node.remove();
      line?.remove();
      this.drawn.delete(id);
    }
    shown.forEach((slave, at) => this.place(slave, at, shown.length));
  }

  place({ id, name, state, detail, size }, at, total) {
    let drawn = this.drawn.get(id);
    if (!drawn) {
      const node = this.make("g", {}, this.slaves);
      drawn = { node, title: this.make("title", {}, node), shape: this.make("path", {}, node) };
      this.drawn.set(id, drawn);
    }
    if (drawn.at !== at || drawn.total !== total || size) this.move(drawn, at, total, size);
    if (drawn.state !== state) {
      drawn.state = state;
      drawn.node.setAttribute("class", `node ${state}`);
      drawn.shape.setAttribute("d", SHAPES[state]);
    }
    drawn.line?.setAttribute("class", state);
    const title = `${name || "a slave"}: ${state}${detail ? `, ${detail}` : ""}`;
    if (drawn.title.textContent !== title) drawn.title.textContent = title;
    if (drawn.label) drawn.label.textContent = size ? name : short(name);
  }

  move(drawn, at, total, size) {
    const [x, y, own] = total <= RING ? onRing(at, total) : inPlane(at, total);
    const scale = size ?? own;
    Object.assign(drawn, { at, total });
    // The style sheet may have it glide there.
    drawn.node.style.transform = `translate(${x.toFixed(1)}px, ${y.toFixed(1)}px)`;
    drawn.shape.setAttribute("transform", `scale(${scale.toFixed(2)})`);
    if (total <= RING) {
      drawn.line ??= this.make("line", { x1: X, y1: Y }, this.lines);
      set(drawn.line, { x2: x, y2: y });
      drawn.label ??= this.make("text", {}, drawn.node);
      drawn.label.setAttribute("y", y < Y - 1 ? -scale - 9 : scale + 21);
    } else {
      drawn.line?.remove();
      drawn.label?.remove();
      drawn.line = drawn.label = undefined;
    }
  }
}

function onRing(at, total) {
  const angle = ((at + 0.5) / total) * 2 * Math.PI - Math.PI;
  return [X + RING_X * Math.cos(angle), Y + RING_Y * Math.sin(angle), 11];
}

// Each a golden angle further than the one before: any number of dots is spread evenly, as a sunflower's seeds are.
function inPlane(at, total) {
  const distance = Math.sqrt(INNER + (1 - INNER) * ((at + 0.5) / total));
  const room = Math.sqrt((Math.PI * RX * RY * (1 - INNER)) / total);
  return [X + RX * distance * Math.cos(at * GOLDEN), Y + RY * distance * Math.sin(at * GOLDEN), Math.min(9, room * 0.31)];
}

function groups(counts) {
  const most = Math.max(...Object.values(counts));
  return STATES.filter((state) => counts[state]).map((state) =>
    ({ id: `all ${state}`, state, name: `${number(counts[state])} ${state}`, size: 10 + 18 * Math.sqrt(counts[state] / most) }));
}

function short(name) {
  const host = name.split(".")[0];
  return host.length > NAME ? `${host.slice(0, NAME - 1)}…` : host;
}

function summary(master, address, counts, total) {
  const parts = STATES.filter((state) => counts[state]).map((state) => `${counts[state]} ${state}`);
  return `The master${address ? ` at ${address}` : ""}: ${MASTER[master]}. ${plural(total, "slave", "slaves")}${total ? `: ${parts.join(", ")}` : ""}.`;
}
