// The description of the API, as the launcher gives it to programs.
const answer = await fetch("../openapi.json");
export const description = await answer.json();

// What a part of it is, where it may be a reference.
export function follow(part) {
  const names = part.$ref?.slice(2).split("/");
  return names ? names.reduce((at, name) => at[name], description) : part;
}
