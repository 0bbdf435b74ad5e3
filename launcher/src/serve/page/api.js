// Every operation that openapi.json describes, with its fields. Each is sent from here to the launcher itself.
import { description, follow } from "./description.js";
import { field } from "./field.js";
import { make } from "./make.js";
import { keep, token } from "./token.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const JSON_TYPE = "application/json";
const $ = id => document.getElementById(id);

function operation(path, method, said, shared) {
  const id = `${method}${path}`.replace(/[^a-z]+/g, "-").replace(/-$/, "");
  const inputs = [...shared, ...said.parameters ?? []].map(follow).map(({ name, schema, description, required }) =>
    ({ name, ...field(`${id}-${name}`, name, { description, ...schema }, required) }));
  const schema = said.requestBody?.content[JSON_TYPE].schema;
  const body = schema && field(`${id}-body`, "Body", schema, true);
  const name = method.toUpperCase();
  const button = make("button", { className: method === "delete" ? "danger" : "primary" }, `Send ${name}`);
  const problem = make("p", { className: "soon" });
  problem.setAttribute("role", "alert");
  const answer = make("div", { className: "answer" });
  answer.setAttribute("role", "status");
  const request = () => {
    const filled = inputs.reduce((url, input) => url.replace(`{${input.name}}`, encodeURIComponent(input.read())), path);
    const sent = new Request(`..${filled}`, { method: name, cache: "no-store", body: body && JSON.stringify(body.read()) });
    if (body) sent.headers.set("Content-Type", JSON_TYPE);
    if (said.security && token()) sent.headers.set("Authorization", `Bearer ${token()}`);
    return sent;
  };
  const onsubmit = async event => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      await show(await fetch(request()), answer);
    } catch (fault) {
      answer.replaceChildren();
      problem.textContent = `There is no answer: ${fault.message}`;
    }
    button.disabled = false;
  };
  const send = make("p", { className: "row" }, button, said.security ? "The token is sent with it." : "It needs no token.");
  const form = make("form", { onsubmit }, inputs.map(input => input.element), body?.element ?? [], send, problem);
  const head = make("summary", {}, make("h3", {}, make("code", {}, `${name} ${path}`)), ` ${said.summary}`);
  return make("details", { className: "card", id }, head, form, answer, answers(said.responses));
}

// What the launcher answered, as text.
async function show(answer, into) {
  const text = await answer.text();
  const head = [...answer.headers].map(([name, value]) => `${name}: ${value}\n`);
  const is_json = text && answer.headers.get("Content-Type")?.startsWith(JSON_TYPE);
  into.replaceChildren(
    make("h4", {}, `${answer.status} ${answer.statusText}`),
    make("pre", { className: "quiet" }, head),
    make("pre", { className: "wide" }, is_json ? JSON.stringify(JSON.parse(text), null, 2) : text),
  );
}

// What it may answer.
function answers(responses) {
  const parts = Object.entries(responses).map(([status, response]) => {
    const { description, content } = follow(response);
    const schema = content?.[JSON_TYPE]?.schema;
    const rows = schema ? fields(schema, "") : [];
    const words = make("p", {}, make("code", {}, status === "default" ? "else" : status), ` ${description}`);
    return [words, rows.length ? make("div", { className: "wide" }, make("table", {}, make("tbody", {}, rows))) : []];
  });
  return make("details", {}, make("summary", {}, "What it answers"), parts.flat());
}

// A row for each field of an answer, with its place.
function fields(part, place) {
  const schema = follow(part);
  if (schema.type === "array") return schema.items ? fields(schema.items, `${place}[]`) : [];
  const within = Object.entries(schema.properties ?? {}).map(([name, inner]) => {
    const at = place ? `${place}.${name}` : name;
    const { type, enum: values, description } = follow(inner);
    const kind = values ? values.map(value => JSON.stringify(value)).join(", ") : [type ?? "any"].flat().join(" or ");
    const cells = [make("code", {}, at), kind, description ?? ""].map(text => make("td", {}, text));
    return [make("tr", {}, cells), ...fields(inner, at)];
  });
  return within.flat();
}

function tell() {
  $("token-state").textContent = token() ? "This tab has a token." : "This tab has no token yet.";
}

$("token-form").addEventListener("submit", event => {
  event.preventDefault();
  keep($("token").value);
  $("token").value = "";
  tell();
});
tell();
const all = Object.entries(description.paths).flatMap(([path, there]) =>
  METHODS.filter(method => there[method]).map(method => operation(path, method, there[method], there.parameters ?? [])));
$("operations").replaceChildren(...all);
// A link may lead to one of them: api#post-clusters.
const linked = $(location.hash.slice(1));
if (linked) {
  linked.open = true;
  linked.scrollIntoView();
}
