// The clusters of the launcher, asked for every few seconds with a token that stays in this tab.
import { keep, token } from "./token.js";

const PAUSE = 3000;
const TONES = { ready: "good", failed: "bad", gone: "wait", going: "wait" };
// The columns of each table: the head, and the cell of an item.
const COLUMNS = {
  clusters: [
    ["Name", c => ({ text: c.cluster, to: `#${encodeURIComponent(c.name)}` })],
    ["Type", c => c.cluster_type_id],
    ["State", c => ({ text: c.state, tone: c.state })],
    ["Detail", c => c.detail],
    ["Launched", c => c.created],
  ],
  nodes: [
    ["Name", n => n.name || n.id],
    ["Role", n => n.role],
    ["State", n => ({ text: n.state, tone: n.state })],
    ["Addresses", n => n.addresses.join(" ")],
    ["Detail", n => n.detail],
  ],
  servers: [
    ["Name", s => s.name],
    ["Status", s => ({ text: s.status, tone: s.status === "ERROR" ? "failed" : "" })],
    ["Addresses", s => s.addresses.join(" ")],
    ["Fault", s => s.fault],
  ],
};
const $ = id => document.getElementById(id);
const texts = {};
let timer;

async function ask(path) {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${token()}` }, cache: "no-store" });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.errors[0].detail), { status: answer.status });
  return body;
}

// Text only: what machines and clouds say of themselves is put into no markup.
function fill(table, items) {
  $(table).tHead.rows[0].replaceChildren(...COLUMNS[table].map(([head]) => {
    const box = document.createElement("th");
    box.scope = "col";
    box.textContent = head;
    return box;
  }));
  const lines = items.map(item => {
    const line = document.createElement("tr");
    for (const [, cell] of COLUMNS[table]) {
      const found = cell(item);
      const { text, tone, to } = found instanceof Object ? found : { text: found };
      const box = line.appendChild(document.createElement("td"));
      if (tone) box.className = tone;
      const inner = to ? box.appendChild(document.createElement("a")) : box;
      if (to) inner.href = to;
      inner.textContent = text ?? "";
    }
    return line;
  });
  $(table).tBodies[0].replaceChildren(...lines);
}

function showList(clusters) {
  $("none").hidden = clusters.length > 0;
  $("clusters").hidden = clusters.length === 0;
  fill("clusters", clusters);
}

function showCluster(c) {
  $("headline").textContent = `${c.cluster} is ${c.state}`;
  $("words").textContent = c.detail;
  $("trouble").textContent = c.trouble ?? "";
  $("cluster").dataset.tone = TONES[c.state] ?? "";
  fill("nodes", c.nodes);
  fill("servers", c.servers);
  $("timeline").replaceChildren(...c.log.map(line => {
    const item = document.createElement("li");
    const time = item.appendChild(document.createElement("time"));
    time.textContent = line.time;
    item.append(line.text);
    return item;
  }).reverse());
  instruct(c.cluster_type_id);
}

async function instruct(type) {
  texts[type] ??= ask(`../cluster-types/${encodeURIComponent(type)}`).then(found => found.instructions, () => []);
  const found = await texts[type];
  $("instructions").hidden = found.length === 0;
  $("instructions").lastElementChild.replaceChildren(...found.flatMap(({ title, text }) => {
    const head = document.createElement("h4");
    head.textContent = title;
    return [head, ...markdown(text)];
  }));
}

// Of Markdown: paragraphs, items, `code` and **weight**. Anything else stays as it is written.
function markdown(text) {
  return text.trim().split(/\n\s*\n/).map(block => {
    const items = block.split("\n").every(line => /^[-*] /.test(line));
    const outer = document.createElement(items ? "ul" : "p");
    for (const part of items ? block.split("\n").map(line => line.slice(2)) : [block]) {
      const into = items ? outer.appendChild(document.createElement("li")) : outer;
      for (const piece of part.split(/(`[^`]+`|\*\*[^*]+\*\*)/)) {
        const kind = piece.startsWith("`") ? "code" : piece.startsWith("**") ? "strong" : null;
        if (!kind || piece.length < 3) { into.append(piece); continue; }
        into.appendChild(document.createElement(kind)).textContent = kind === "code" ? piece.slice(1, -1) : piece.slice(2, -2);
      }
    }
    return outer;
  });
}

async function look() {
  clearTimeout(timer);
  const name = decodeURIComponent(location.hash.slice(1));
  try {
    if (name) showCluster(await ask(`../clusters/${encodeURIComponent(name)}`));
    else showList(await ask("../clusters/"));
    $("problem").hidden = true;
    $("list").hidden = Boolean(name);
    $("cluster").hidden = !name;
    badge("live", `seen ${new Date().toLocaleTimeString()}`);
  } catch (problem) {
    const asks = problem.status === 401;
    $("problem").hidden = false;
    $("token-form").hidden = !asks;
    $("problem-words").textContent = !asks ? `${problem.message}` : token() ? `The token is refused: ${problem.message}.` : "The launcher asks for a token.";
    badge("stale", "not up to date");
    if (asks) return;
  }
  timer = setTimeout(look, PAUSE);
}

function badge(kind, words) {
  $("link").hidden = false;
  $("link").className = `badge ${kind}`;
  $("link").textContent = words;
}

$("token-form").addEventListener("submit", event => {
  event.preventDefault();
  keep($("token").value);
  $("token").value = "";
  look();
});
addEventListener("hashchange", look);
look();
