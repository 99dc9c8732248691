// Does every write that the dashboard offers while the API answers 202; prints what the page said to each, and then to "Ask again", as JSON.

import { api, body, button, load, toasts, until } from "./document.mjs";

const COMMAND = "0e64b5c2-4d6d-5951-b6d7-86144e553799";
const ended = { run_id: "r1", status: "succeeded", data_partitions: ["d"], plan: { contract: { name: "c", version: "v1" } } };
const request = { request_id: "q1", run_id: "r1", state: "waiting", requested_by: "ann", data_partition: "d", plan_digest: "p" };
const delivery = { delivery_id: "d1", event_id: "e1", event_type: "run.failed", state: "failed", attempts: 1 };
const endpoint = { endpoint_id: "wh_1", url: "https://example.org", event_types: [], pipelines: [] };
const answers = {
  "/ui/permissions.json": { all: ["decisions:write", "runs:cancel", "runs:replay", "webhooks:write"] },
  "/runs/r1": ended, "/runs/r2": { ...ended, run_id: "r2", status: "running" },
  "/runs/r1/metrics": { reconciled: null }, "/runs/r2/metrics": { reconciled: null },
  "/governance/approvals": { items: [request] },
  "/webhooks/wh_1": endpoint, "/webhooks/wh_1/health": { state: "delivering" }, "/webhooks/wh_1/deliveries": { items: [delivery] },
};
let decided = null;
api((method, path) => {
  if (method !== "GET") return [202, { command_id: COMMAND, status: "accepted", links: { command: `/commands/${COMMAND}` } }];
  if (path === `/commands/${COMMAND}`) return decided ? [200, decided] : [404, { code: "not-found", detail: "not decided yet" }];
  return [200, answers[path] ?? { items: [] }];
});

await (await load("session.js")).loadPermissions();
const root = document.createElement("main");
const said = {};

/** Opens a page, presses a button, and fills in the form where one opens. */
async function does(name, page, parts, verb) {
  root.replaceChildren();
  toasts.replaceChildren();
  body.replaceChildren();
  location.hash = "";
  const leave = page(root, parts);
  const pressed = (await until(() => button(root, verb))).dispatch("click");
  const form = body.all().find((one) => one.tag === "form");
  await Promise.all([pressed, form?.dispatch("submit")]);
  leave();
  const shown = toasts.childNodes[0];
  said[name] = { toast: toasts.textContent, open: body.childNodes.length, hash: location.hash, command: shown?.attributes["data-command"] ?? null };
  const again = shown && button(shown, "Ask again");
  if (!again) return;
  decided = null;
  await again.dispatch("click");
  const first = shown.textContent;
  decided = { status: "refused", admission: { type: "CommandRefused", data: { code: "run-ended", detail: "it has ended" } }, result: null };
  await again.dispatch("click");
  const second = shown.textContent;
  await button(shown, "Close").dispatch("click");
  Object.assign(said[name], { first, second, left: toasts.childNodes.length });
}

const { approvals } = await load("pages/approvals.js"), { run } = await load("pages/run.js"), { webhook } = await load("pages/webhook.js");
await does("approve", approvals, [], "Approve…");
await does("reject", approvals, [], "Reject…");
await does("cancel", run, ["r2"], "Cancel");
await does("replay", run, ["r1"], "Replay");
await does("send again", webhook, ["wh_1"], "Send again");
process.stdout.write(JSON.stringify(said), () => process.exit(0));
