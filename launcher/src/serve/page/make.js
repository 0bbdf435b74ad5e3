// An element with its properties and what is in it. Text is always text, never markup.
export function make(name, properties = {}, ...inner) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...inner.flat());
  return element;
}
