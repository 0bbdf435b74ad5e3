// Small helpers for the document and for times.

export const $ = (id) => document.getElementById(id);

// An element with attributes and what is in it. Text is always text, never markup.
export function el(name, attributes = {}, ...children) {
  const element = set(document.createElement(name), attributes);
  element.append(...children);
  return element;
}

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// Sets a text where it is another one, so that a screen reader is not told the same twice.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function on(id, name, act) { $(id).addEventListener(name, act); }

export function show(id, visible) { $(id).hidden = !visible; }

// Tells those who use a screen reader.
export function say(text) { $("said").textContent = text; }

// A time of day, with the date where it is another day.
export function clock(milliseconds) {
  const time = new Date(milliseconds);
  const isToday = time.toDateString() === new Date().toDateString();
  return isToday ? time.toLocaleTimeString() : time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

// A span of milliseconds in its two largest units.
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [hours, minutes] = [3600, 60].map((unit) => Math.floor(seconds / unit));
  if (hours >= 48) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

// Puts names in the order in which people count them; made once, since that is slow.
export const { compare } = new Intl.Collator(undefined, { numeric: true });

export function number(count) { return count.toLocaleString(); }

export function plural(count, one, many) { return `${number(count)} ${count === 1 ? one : many}`; }

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Plain http has no clipboard; the old way needs a selection.
    const focused = document.activeElement;
    const area = el("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    focused?.focus();
  }
}

// A button that copies what `read` gives when it is pressed.
export function copyButton(button, read) {
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await copy(read());
    say("Copied.");
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  });
}
