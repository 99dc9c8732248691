// The frame: sign-in, navigation, who looks, whether what is seen is live. Pages are in pages/, chosen by the fragment.

import { get, whenUnauthenticated } from "./api.js";
import { el, fill, icon } from "./dom.js";
import { live } from "./live.js";
import { badge, keepTimes, paced, when } from "./parts.js";
import { approvals } from "./pages/approvals.js";
import { pipelines } from "./pages/pipelines.js";
import { run } from "./pages/run.js";
import { runs } from "./pages/runs.js";
import { signIn } from "./pages/sign_in.js";
import { webhook } from "./pages/webhook.js";
import { webhooks } from "./pages/webhooks.js";
import { adoptToken, allowedActions, claims, forget, keep, loadPermissions, may, token } from "./session.js";

// each page: (root, parameters) → a function that ends it. `needs`: the action without which it is not offered
const PAGES = [
  { path: /^\/runs$/, page: runs, title: "Runs", nav: "/runs", icon: "runs", needs: "runs:read" },
  { path: /^\/runs\/([^/]+)$/, page: run, title: "Run", under: "/runs" },
  { path: /^\/approvals$/, page: approvals, title: "Approvals", nav: "/approvals", icon: "approvals", needs: "decisions:read" },
  { path: /^\/pipelines$/, page: pipelines, title: "Pipelines", nav: "/pipelines", icon: "pipelines", needs: "pipelines:read" },
  { path: /^\/webhooks$/, page: webhooks, title: "Webhooks", nav: "/webhooks", icon: "webhooks", needs: "webhooks:read" },
  { path: /^\/webhooks\/([^/]+)$/, page: webhook, title: "Webhook", under: "/webhooks" },
];
const STATES = {
  live: "Live", connecting: "Connecting", "catching-up": "Catching up", cut: "Reconnecting", polling: "Asking every 3 s", off: "Off",
};

const root = document.getElementById("app");
let leave = () => {};

function frame() {
  const links = PAGES.filter((page) => page.nav && may(page.needs)).map((page) =>
    el("a", { href: `#${page.nav}`, "data-nav": page.nav }, icon(page.icon), el("span", page.title), el("b.waiting", { hidden: true })));
  const state = el("span.connection", { role: "status", "aria-live": "polite", id: "connection" });
  fill(root, el("div.frame",
    el("aside",
      el("a.brand", { href: "#/runs" }, el("img", { src: "/ui/mark.svg", alt: "", width: 20, height: 20 }), "Barecount"),
      el("nav", { "aria-label": "Pages" }, links),
      el("div.foot", state, who())),
    el("main", { id: "main", tabindex: -1 })));
  const show = () => fill(state, badge(live.state, live.detail || STATES[live.state], STATES[live.state]));
  const stop = live.on("state", show);
  show();
  return stop;
}

function who() {
  const said = claims();
  return el("details.who",
    el("summary", el("span.face", { "aria-hidden": "true" }, said.subject.slice(0, 1).toUpperCase()),
      el("span", el("strong", said.subject), el("small", `${said.tenant} · ${said.roles.join(", ") || "no role"}`))),
    el("div.card",
      el("p", "The token ends ", said.expires ? when(new Date(said.expires).toISOString()) : "never", "."),
      el("p", "You may:"), el("ul.actions", allowedActions().map((action) => el("li", el("code", action)))),
      el("button.button", { type: "button", onclick: signOut }, icon("out"), "Sign out")));
}

async function countWaiting() {
  const mark = root.querySelector('[data-nav="/approvals"] .waiting');
  if (!mark) return;
  const answer = await get("/governance/approvals", { state: "waiting", limit: 100 }).catch(() => null);
  if (!answer) return;
  mark.hidden = answer.items.length === 0;
  mark.textContent = answer.next_cursor ? "99+" : String(answer.items.length);
  mark.title = `${mark.textContent} wait for a decision`;
}

function open() {
  leave();
  leave = () => {};
  for (const dialog of document.querySelectorAll("dialog")) dialog.remove();
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const found = PAGES.find((page) => page.path.test(path));
  if (!found) return location.replace("#/runs");
  const parameters = found.path.exec(path).slice(1).map(decodeURIComponent);
  document.title = `${parameters[0] ?? found.title} · Barecount`;
  for (const link of root.querySelectorAll("nav a")) {
    const here = link.dataset.nav === (found.nav ?? found.under);
    link.toggleAttribute("data-here", here);
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  const place = el("div.page");
  fill(main, place);
  main.scrollTop = 0;
  leave = found.page(place, parameters, new URLSearchParams(query)) ?? (() => {});
}

let ends = [];

async function start() {
  await loadPermissions();
  ends = [frame()];
  // the stream first, the lists afterwards: nothing falls between them
  await live.start();
  const recount = paced(countWaiting, 400);
  ends.push(live.on("change", (change) => { if (change.kind === "replay") recount(); }), live.on("look", recount));
  recount();
  window.addEventListener("hashchange", open);
  open();
}

function signOut(why) {
  forget();
  live.stop();
  leave();
  leave = () => {};
  ends.forEach((end) => end());
  ends = [];
  window.removeEventListener("hashchange", open);
  ask(typeof why === "string" ? why : "");
}

function ask(why) {
  document.title = "Sign in · Barecount";
  signIn(root, why, (text) => { keep(text); start(); });
}

document.addEventListener("click", (event) => {
  const card = root.querySelector(".who[open]");
  if (card && !card.contains(event.target)) card.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") root.querySelector(".who[open]")?.removeAttribute("open");
});
whenUnauthenticated(() => { if (token()) signOut("Your token is not valid any more: sign in again."); });
// a link with a token may be opened in a tab that stands here already
window.addEventListener("hashchange", () => {
  if (!location.hash.startsWith("#token=")) return;
  adoptToken();
  location.reload();
});
adoptToken();
keepTimes();
if (claims()) start();
else ask("");
