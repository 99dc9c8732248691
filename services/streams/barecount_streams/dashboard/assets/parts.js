// What several pages show: states, times, ids, figures, problems, dialogs.

import { ProblemError } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { absolute, ago, short } from "./format.js";

const MOODS = {
  succeeded: "good", approved: "good", published: "good", ok: "good", active: "good", live: "good",
  failed: "bad", rejected: "bad", refused: "bad", disabled: "bad", lost: "bad", open: "bad", "lease-expired": "bad", failing: "bad",
  running: "busy", started: "busy", dispatched: "busy", validated: "busy", "half-open": "busy", "catching-up": "busy", connecting: "busy",
  waiting: "wait", queued: "wait", requested: "wait", pending: "wait", cancelling: "wait", polling: "wait", cut: "wait",
};

export const mood = (status) => MOODS[status] ?? "calm";

/** A state as a word with a dot: never colour alone. */
export const badge = (status, title, text = status.replaceAll("-", " ")) => el(`span.badge.${mood(status)}`, { title }, el("i", { "aria-hidden": "true" }), text);

/** A time, relative, absolute on hover; `keepTimes` keeps it true. */
export function when(time) {
  if (!time) return el("span.faint", "–");
  return el("time", { datetime: time, title: absolute(time) }, ago(time));
}

export function keepTimes() {
  setInterval(() => {
    for (const one of document.querySelectorAll("time[datetime]")) {
      const said = ago(one.getAttribute("datetime"));
      if (one.textContent !== said) one.textContent = said;
    }
  }, 5000);
}

/** An id with a button that copies all of it. */
export function copyable(text, { size = 0, label = "id" } = {}) {
  if (!text) return el("span.faint", "–");
  const button = el("button.copy", { type: "button", title: `Copy ${text}`, "aria-label": `Copy this ${label}` }, icon("copy"));
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    event.preventDefault();
    await copy(text);
    fill(button, icon("check"));
    setTimeout(() => fill(button, icon("copy")), 1200);
  });
  return el("span.copyable", el("code", { title: size ? text : null }, size ? short(text, size) : text), button);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // no clipboard without a secure context: select it in a field and let the browser copy
    const field = el("textarea.offscreen", text);
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

/** A label with its value, for heads of pages. */
export const fact = (label, ...value) => el("div.fact", el("dt", label), el("dd", value));

export const figure = (label, value, hint, feeling = "") =>
  el("div.figure", { class: feeling }, el("span.label", label), el("span.value", value), hint ? el("span.hint", hint) : null);

export const section = (title, { count, aside, id } = {}, ...children) =>
  el("section.panel", { id, "aria-label": title }, el("header", el("h2", title, count !== undefined ? el("span.count", count) : null), aside), children);

export const empty = (title, hint) => el("div.empty", el("strong", title), hint ? el("p", hint) : null);

export const loading = (rows = 4) =>
  el("div.skeletons", { role: "status", "aria-label": "loading" }, Array.from({ length: rows }, () => el("div.skeleton")));

/** What went wrong, to which thing, and what to do now: in the API's own words. */
export function problem(error) {
  const known = error instanceof ProblemError;
  if (!known) console.error(error);
  const difference = known && error.extra.difference ? differences(error.extra.difference) : null;
  return el("div.problem", { role: "alert" },
    el("strong", known ? error.title || "The API refused" : "Something failed in this page"),
    el("p", error.message),
    difference,
    known && error.remedy ? el("p.remedy", error.remedy) : null,
    known && error.code ? el("code", error.status ? `${error.status} ${error.code}` : error.code) : null);
}

/** {field: {was, is}} as a table. */
export function differences(changed) {
  const shown = (value) => (value === null || value === undefined ? "–" : typeof value === "string" ? value : JSON.stringify(value));
  return el("div.scroll", el("table.dense.difference", { "aria-label": "What has changed" },
    el("thead", el("tr", el("th", "Field"), el("th", "Shown"), el("th", "Now"))),
    el("tbody", Object.entries(changed).map(([name, { was, is }]) =>
      el("tr", el("td", name.replaceAll("_", " ")), el("td.was", el("code", shown(was))), el("td.is", el("code", shown(is))))))));
}

export function toast(text, feeling = "good") {
  const shown = el("div.toast", { class: feeling, role: "status" }, text);
  document.getElementById("toasts").append(shown);
  setTimeout(() => shown.remove(), 6000);
}

/**
 * A modal form. fields: nodes; send(form data as object) does it, and what it throws is shown while the form stays open.
 * Returns the dialog; it removes itself when closed.
 */
export function ask({ title, lead, fields = [], action, danger = false, send }) {
  const wrong = el("div");
  const submit = el("button.button.primary", { type: "submit", class: danger ? "danger" : "" }, action);
  const form = el("form", { method: "dialog" },
    el("h2", title), lead ? el("p.lead", lead) : null, fields, wrong,
    el("footer", el("button.button", { type: "button", onclick: () => dialog.close() }, "Back"), submit));
  const dialog = el("dialog", { "aria-label": title }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    fill(wrong);
    try {
      await send(Object.fromEntries(new FormData(form)));
      dialog.close();
    } catch (error) {
      fill(wrong, problem(error));
    } finally {
      submit.disabled = false;
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export const field = (label, control, hint) => el("label.field", el("span", label), control, hint ? el("small", hint) : null);

/** Runs `work` now, then at most once at a time and at most every `gap` ms, however often the returned function is called. */
export function paced(work, gap = 250) {
  let running = false, wanted = false;
  return async function again() {
    if (running) { wanted = true; return; }
    running = true;
    try {
      do {
        wanted = false;
        await work();
        await new Promise((resolve) => setTimeout(resolve, gap));
      } while (wanted);
    } finally {
      running = false;
    }
  };
}
