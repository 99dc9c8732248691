// As much of a browser's document as the dashboard's pages need to be drawn and clicked in Node, and an API whose answers a test gives.

import { pathToFileURL } from "node:url";

globalThis.Node = class {
  constructor(text = "") {
    Object.assign(this, { childNodes: [], parent: null, text, listeners: {}, attributes: {}, dataset: {}, style: { setProperty() {} } });
    this.classList = { add() {}, remove() {}, toggle() {} };
  }

  get textContent() { return this.text + this.childNodes.map((child) => child.textContent).join(""); }
  set textContent(text) { this.replaceChildren(new Node(text)); }

  append(...children) {
    for (const child of children.map((one) => (one instanceof Node ? one : new Node(String(one))))) {
      child.parent = this;
      this.childNodes.push(child);
    }
  }

  replaceChildren(...children) {
    this.childNodes = [];
    this.append(...children);
  }

  remove() { this.parent?.childNodes.splice(this.parent.childNodes.indexOf(this), 1); }
  setAttribute(name, value) { this.attributes[name] = value; }
  addEventListener(name, then) { (this.listeners[name] ??= []).push(then); }
  async dispatch(name) { for (const then of this.listeners[name] ?? []) await then({ preventDefault() {}, stopPropagation() {} }); }
  isEqualNode() { return false; }
  querySelectorAll() { return []; }
  querySelector(tag) { return this.all().find((one) => one.tag === tag) ?? null; }
  showModal() {}
  close() { this.dispatch("close"); }
  all() { return [this, ...this.childNodes.flatMap((child) => child.all())]; }
};

export const toasts = new Node(), body = new Node();
const made = (tag) => Object.assign(new Node(), { tag });
globalThis.document = {
  body, hidden: false, createElement: made, createElementNS: (_, tag) => made(tag), createTextNode: (text) => new Node(text),
  getElementById: () => toasts, querySelectorAll: () => [], addEventListener() {},
};
globalThis.location = { hash: "", host: "test", pathname: "/ui/" };

const claims = { iss: "i", sub: "gus", tenant: "acme", roles: ["all"] };
globalThis.sessionStorage = { getItem: () => `.${btoa(JSON.stringify(claims))}.` };
// what the fields of any form hold
globalThis.FormData = class { *[Symbol.iterator]() { yield ["reason", "why"]; } };

/** answer(method, path) gives [status, body] of every call. */
export function api(answer) {
  globalThis.fetch = async (path, { method = "GET" } = {}) => {
    const [status, said] = answer(method, path.split("?")[0]);
    return { ok: status < 400, status, headers: new Headers(), json: async () => said };
  };
}

export const load = (file) => import(pathToFileURL(`${process.argv[2]}/${file}`).href);

/** Waits until it is there; the process's own deadline ends a wait in vain. */
export async function until(find) {
  for (;;) {
    const found = find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const button = (within, text) => within.all().find((one) => one.tag === "button" && one.textContent === text);
