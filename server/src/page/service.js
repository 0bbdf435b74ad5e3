// Requests to the service, and what its refusals mean to a person.

import { clock, span } from "./view.js";

// Differences of clocks that count, in milliseconds: a Date header tells no less than a second.
const SKEW = 2000;

export const CLUSTERS = "api/v1/clusters";
export const CONTEXTS = "api/v1/contexts";
export const pathOf = (pin, rest = "") => `${CLUSTERS}/${pin}${rest}`;

// Where VMs reach the service. It says so; without that, it is where this page is.
export const SERVICE_URL = document.querySelector("meta[name=public-url]").content
  || location.origin + location.pathname.replace(/\/cluster_pairing\/?$/, "");

// By how much the service's clock is ahead of this one.
let ahead = 0;

// The service's time.
export function now() { return Date.now() + ahead; }

// Why a request did not do what it was for: what is wrong, and what to do next. The page goes by its kind.
export class Problem extends Error {
  constructor(kind, title, next) {
    super(title);
    this.kind = kind;
    this.next = next;
  }
}

// Asks the service. `body` is sent as JSON, `token` is the admin's.
export async function ask(method, path, { body, token } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Problem("unreachable", "The service cannot be reached.",
      "Check that it runs and that this machine has a network, then try again.");
  }
  const skew = Date.parse(answer.headers.get("Date")) - Date.now();
  ahead = Math.abs(skew) > SKEW ? skew : 0;
  if (!answer.ok) throw await problemOf(answer, token);
  return answer.status === 204 ? null : answer.json();
}

async function problemOf(answer, token) {
  const detail = await answer.json().then((body) => body.detail ?? Object.values(body).flat().join(" "), () => "");
  const seconds = Number(answer.headers.get("Retry-After"));
  const later = seconds ? `Try again after ${clock(Date.now() + seconds * 1000)} (in ${span(seconds * 1000)}).` : "Try again in a moment.";
  switch (answer.status) {
    case 401:
      return new Problem("token", token ? "The service does not take this token." : "Making a pin takes a token here.",
        "Ask the admin of the service for it.");
    case 404:
      return new Problem("unknown", "The service does not know this pin.",
        "It was mistyped, has expired, or was deleted. Check it, or create another one.");
    case 429:
      return new Problem("limited", "This address has asked for too much.", later);
    case 503:
      return new Problem("busy", detail || "The service has no room now.", later);
    case 507:
      return new Problem("full", "The service has no room left on its disk.", "Tell its admin. Nothing was changed.");
    default:
      return new Problem("refused", detail || `The service answered ${answer.status}.`,
        answer.status < 500 ? "Correct it, then try again." : "The log of the service says more. Try again later.");
  }
}
