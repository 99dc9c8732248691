// Elements without markup strings: data only ever becomes text nodes and attributes, so a name with markup in it stays a name.

/**
 * el("a.button", {href, onclick}, "text", child, [more])
 * Attributes: `on…` are listeners, `class` adds to the selector's, `style` is an object of CSS properties (set by the CSSOM, which
 * the policy allows), false and null are left out. Children: nodes, text, lists of them; null and false are left out.
 */
export function el(selector, attributes, ...children) {
  if (attributes instanceof Node || typeof attributes !== "object" || Array.isArray(attributes) || attributes === null) {
    if (attributes !== undefined) children.unshift(attributes);
    attributes = {};
  }
  const [tag, ...classes] = selector.split(".");
  const made = document.createElement(tag || "div");
  if (classes.length) made.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) set(made, name, value);
  made.append(...nodes(children));
  return made;
}

function set(made, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
  else if (name === "class") made.classList.add(...value.split(" ").filter(Boolean));
  else if (name === "style") for (const [property, to] of Object.entries(value)) made.style.setProperty(property, to);
  else if (name === "href" && !/^(#|\/)/.test(value)) return; // links lead within this origin only
  else made.setAttribute(name, value === true ? "" : String(value));
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/** Puts these children in the place of those that are there. */
export function fill(parent, ...children) {
  parent.replaceChildren(...nodes(children));
  return parent;
}

/** Like fill, but leaves the parent alone when nothing would look different: focus, selection and scrolling survive a refresh. */
export function refill(parent, ...children) {
  const next = nodes(children);
  const same = next.length === parent.childNodes.length && next.every((node, at) => node.isEqualNode(parent.childNodes[at]));
  if (!same) parent.replaceChildren(...next);
  return parent;
}

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  runs: "M4 5h12M4 10h8M4 15h5M14 12l4 2.5-4 2.5z",
  approvals: "M10 3l6 2.5v4c0 4-2.5 6.5-6 7.5-3.5-1-6-3.5-6-7.5v-4zM7.5 10l2 2 3.5-4",
  pipelines: "M4 4h4v4H4zM12 12h4v4h-4zM8 6h3a3 3 0 0 1 3 3v3",
  webhooks: "M4 10a6 6 0 0 1 12 0M7 10a3 3 0 0 1 6 0M10 10v6M7 16h6",
  copy: "M7 7h9v9H7zM4 13V4h9",
  check: "M4 10l4 4 8-9",
  chevron: "M8 5l5 5-5 5",
  out: "M12 4h4v12h-4M4 10h8M9 7l3 3-3 3",
};

export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  made.setAttribute("viewBox", "0 0 20 20");
  made.setAttribute("class", "icon");
  made.setAttribute("aria-hidden", "true");
  made.append(path);
  return made;
}
