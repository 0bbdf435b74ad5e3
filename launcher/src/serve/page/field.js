// The fields of a request, made from a schema. `read` gives what was filled in; undefined stands for what is left out.
import { follow } from "./description.js";
import { make } from "./make.js";

export function field(id, name, part, wanted) {
  const schema = follow(part);
  if (schema.oneOf) return choice(id, name, schema, wanted);
  return schema.properties ? group(id, name, schema) : single(id, name, schema, wanted);
}

function titled(id, name, words, ...inner) {
  const title = make("h4", { id: `${id}-title` }, name);
  const element = make("div", { id }, title, words ? make("p", { className: "quiet" }, words) : [], inner);
  element.setAttribute("role", "group");
  element.setAttribute("aria-labelledby", title.id);
  return element;
}

function group(id, name, schema) {
  const fields = Object.entries(schema.properties).map(([key, part]) => [key, field(`${id}-${key}`, key, part, schema.required?.includes(key))]);
  const element = titled(id, name, schema.description, make("div", { className: "pair" }, fields.map(([, { element }]) => element)));
  const read = () => Object.fromEntries(fields.map(([key, { read }]) => [key, read()]).filter(([, value]) => value !== undefined));
  return { element, read };
}

// One of several shapes: the fields of the one that is chosen are there.
function choice(id, name, schema, wanted) {
  let chosen;
  const place = make("div");
  const choose = (shape, number) => {
    chosen = field(`${id}-${number}`, shape.title, shape, wanted);
    place.replaceChildren(chosen.element);
  };
  const choices = schema.oneOf.map((shape, number) => {
    const input = make("input", { type: "radio", name: id, checked: number === 0, onchange: () => choose(shape, number) });
    return make("label", {}, input, ` ${shape.title}`);
  });
  choose(schema.oneOf[0], 0);
  return { element: titled(id, name, schema.description, make("div", { className: "row" }, choices), place), read: () => chosen.read() };
}

function single(id, name, schema, wanted) {
  const is_text = schema.type === "string" || !schema.type;
  const input = make(is_text ? "input" : "textarea", { id, autocomplete: "off", spellcheck: false });
  if (is_text) Object.assign(input, { type: schema.format === "password" ? "password" : "text", size: 34 });
  else Object.assign(input, { rows: 4, placeholder: "{ }" });
  // What has no type may be empty.
  input.required = Boolean(wanted && schema.type);
  const words = [schema.description, wanted ? "" : "may be left out", is_text ? "" : "JSON"].filter(Boolean).join("; ");
  const label = make("p", {}, make("label", { htmlFor: id }, name));
  const element = make("div", {}, label, is_text ? input : make("div", { className: "editor" }, input));
  if (words) {
    element.append(make("p", { className: "quiet", id: `${id}-words` }, words));
    input.setAttribute("aria-describedby", `${id}-words`);
  }
  return { element, read: () => read(name, input.value, is_text, wanted) };
}

function read(name, text, is_text, wanted) {
  if (text === "" && !wanted) return undefined;
  if (is_text) return text;
  try {
    return JSON.parse(text);
  } catch (problem) {
    throw new Error(`${name} is no JSON: ${problem.message}`);
  }
}
