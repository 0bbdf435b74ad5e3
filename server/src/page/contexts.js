// The two contexts: the service writes the section into them and says what is wrong with them. The cluster's secret is put in
// here, and taken out of what is sent.

import { hides, isSecret, makeSecret } from "./seal.js";
import { CONTEXTS, Problem, SERVICE_URL, ask } from "./service.js";
import { $, copyButton, el, on, say } from "./view.js";

// Stands in a text where the secret belongs; the service knows it by that.
const MARKER = "###CLUSTER_SECRET###";
const SECRET_LINE = /^([ \t#]*cvm_cluster_secret[ \t]*=[ \t]*)(\S+)/gim;
const PIN_LINE = /^[ \t#]*cvm_cluster_pin[ \t]*=[ \t]*(\S+)/im;

export const fileOf = (role) => `${role}-context.txt`;

let pin = null;
let secret = null;
// All that this tab has had: one that was changed may still stand somewhere in a text.
const secrets = new Set();
let secretChanged = null;
let isFilling = false;
// Whether what is shown is not what it should be.
let isStale = false;

// A context of one role, and where a person edits it.
class Editor {
  constructor(role, title) {
    this.role = role;
    // What a person has given as a context of theirs; without one the service has a starter.
    this.own = null;
    // What was put in last, to tell what a person changes.
    this.filled = "";
    const root = $("editor").content.cloneNode(true).firstElementChild;
    const [label, openLabel] = root.querySelectorAll("label");
    const [copyIt, save] = root.querySelectorAll("button");
    [this.area, this.lines, this.findings] = ["textarea", "pre", "ul"].map((name) => root.querySelector(name));
    [label.htmlFor, this.area.id, this.lines.id, this.findings.id] = [role, role, `${role}-lines`, `${role}-findings`];
    [copyIt.id, save.id] = [`copy-${role}`, `save-${role}`];
    label.textContent = title;
    this.area.setAttribute("aria-describedby", this.findings.id);
    for (const control of [copyIt, save]) control.setAttribute("aria-label", `${control.textContent} the context: ${title}`);
    $("editors").append(root);
    copyButton(copyIt, () => this.area.value);
    save.addEventListener("click", () => this.save());
    const file = openLabel.firstElementChild;
    file.id = `${role}-file`;
    file.addEventListener("change", () => this.open(file.files[0]).then(() => { file.value = ""; }));
    on(role, "scroll", () => this.follow());
    on(role, "input", () => this.number([]));
    on(role, "change", () => this.take(this.area.value));
    on(role, "paste", (event) => this.paste(event));
    on(role, "dragover", (event) => event.preventDefault());
    on(role, "drop", (event) => {
      if (!event.dataTransfer.files.length) return;
      event.preventDefault();
      this.open(event.dataTransfer.files[0]);
    });
  }

  put(text) {
    this.area.value = this.filled = text;
    if (this.own !== null) this.own = text;
    this.number([]);
  }

  // A context that a person has given. If it is of this very cluster, its secret is the cluster's.
  take(text) {
    this.own = text.trim() ? text : null;
    this.area.value = text;
    const theirs = [...text.matchAll(SECRET_LINE)][0]?.[2] ?? "";
    if (theirs !== secret && isSecret(theirs) && text.match(PIN_LINE)?.[1] === pin) {
      secretChanged(theirs);
      return setSecret(theirs);
    }
    return fill();
  }

  // Who pastes over what the page has written means to replace it.
  paste(event) {
    if (this.own !== null || this.area.value !== this.filled) {
      setTimeout(() => this.take(this.area.value));
    } else {
      event.preventDefault();
      this.take(event.clipboardData.getData("text"));
    }
  }

  async open(file) {
    if (!file) return;
    await this.take(await file.text());
    say(`${file.name} was opened as the ${this.role}'s context.`);
  }

  save() {
    const link = el("a", { download: fileOf(this.role) });
    link.href = URL.createObjectURL(new Blob([this.area.value], { type: "text/plain" }));
    link.click();
    URL.revokeObjectURL(link.href);
    say(`${fileOf(this.role)} was downloaded.`);
  }

  // Numbers the lines; those with findings stand out.
  number(findings) {
    const worst = new Map();
    for (const { line, severity } of findings) if (worst.get(line) !== "error") worst.set(line, severity);
    this.lines.replaceChildren(...this.area.value.split("\n").map((_, at) =>
      el("span", worst.has(at + 1) ? { class: worst.get(at + 1) } : {}, `${at + 1}`)));
    this.follow();
  }

  follow() { this.lines.parentElement.scrollTop = this.area.scrollTop; }

  tell(findings) {
    this.number(findings);
    const items = findings.map(({ line, severity, message, next }) => {
      const item = el("li", { class: severity }, el("strong", {}, severity), " ");
      if (line) {
        const button = el("button", { type: "button", class: "small" }, `Line ${line}`);
        button.addEventListener("click", () => this.select(line));
        item.append(button, " ");
      }
      item.append(sentence(message), " ");
      if (next) item.append(el("span", { class: "quiet" }, sentence(`Next: ${next}`)));
      return item;
    });
    this.findings.replaceChildren(...(items.length ? items : [el("li", { class: "fine" }, "No problem was found.")]));
  }

  select(line) {
    const lines = this.area.value.split("\n");
    const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    this.area.focus();
    this.area.setSelectionRange(start, start + lines[line - 1].length);
    this.area.scrollTop = (line - 4) * (this.area.scrollHeight / lines.length);
  }
}

function sentence(text) { return text.endsWith(".") ? text : `${text}.`; }

const editors = [new Editor("master", "Master"), new Editor("slave", "Slaves")];

// Fills in the contexts of a pin; `itsSecret` seals its values, null leaves them in the clear. `changed` gets another secret.
export function open(itsPin, itsSecret, changed) {
  [pin, secretChanged] = [itsPin, changed];
  for (const editor of editors) {
    editor.own = null;
    editor.put("");
  }
  setSecret(itsSecret);
}

export function setSecret(itsSecret) {
  secret = itsSecret;
  if (secret) secrets.add(secret);
  $("sealed").checked = secret !== null;
  return fill();
}

// Fills in what could not be filled in before.
export function retry() { if (isStale) fill(); }

async function fill() {
  isStale = true;
  if (isFilling) return;
  isFilling = true;
  try {
    while (isStale) {
      isStale = false;
      await fillOnce();
    }
  } catch (problem) {
    isStale = true;
    for (const editor of editors) editor.tell([{ severity: "error", message: problem.message, next: problem.next }]);
  }
  isFilling = false;
}

async function fillOnce() {
  const asked = { pin, sealed: secret !== null, service_url: SERVICE_URL };
  const shown = editors.map(({ area }) => area.value);
  for (const { role, own } of editors) if (own !== null) asked[role] = await withoutSecret(own);
  const answer = await ask("POST", CONTEXTS, { body: asked });
  editors.forEach((editor, at) => {
    // What was changed meanwhile comes in its turn.
    if (asked.pin !== pin || editor.area.value !== shown[at]) return;
    const { context, findings } = answer[editor.role];
    if (context !== undefined) editor.put(secret ? context.replaceAll(MARKER, secret) : context);
    editor.tell(findings);
  });
}

// SECURITY: no secret is sent, be it this cluster's or another's.
async function withoutSecret(text) {
  // A line of quoted-printable may be broken anywhere. A file of gzip is no text any more.
  const whole = /quoted-printable/i.test(text) ? text.replace(/=\r?\n/g, "") : text;
  const secretsOf = (it) => [...it.matchAll(SECRET_LINE)].map(([, , value]) => value).join();
  const hidden = text[0] === "\x1f" || await hides(text, ["cvm_cluster_secret", ...secrets]).catch(() => true);
  if (hidden || secretsOf(whole) !== secretsOf(text)) {
    throw new Problem("secret", "An encoded part has a cvm_cluster_secret, or cannot be looked into, so the service was not asked.",
      "Leave the part with the section unencoded, and nothing compressed that is not whole.");
  }
  const masked = text.replaceAll(SECRET_LINE, (_, before) => before + MARKER);
  return [...secrets].reduce((rest, one) => rest.replaceAll(one, MARKER), masked);
}

on("sealed", "change", () => {
  setSecret($("sealed").checked ? makeSecret() : null);
  secretChanged(secret);
});
