// A command that was accepted and is not decided yet (the API's 202): nothing may be said of it but that, and how to ask again.

import { get } from "./api.js";
import { el, fill } from "./dom.js";
import { badge, copyable } from "./parts.js";

/** Whether a write's answer leaves open what became of it. Then it says so, until somebody closes it: a toast goes too soon for an id. */
export function undecided({ event, command_id: id }) {
  if (event) return false;
  const head = el("b", "Accepted, not decided yet"), state = el("p", "Do not send it again: it stands in the log and will be decided.");
  const again = el("button.button", { type: "button", onclick: async () => {
    again.disabled = true;
    await ask(id, head, state);
    again.disabled = false;
  } }, "Ask again");
  const shown = el("div.toast.wait", { role: "status", "data-command": id }, head, el("p", "Command ", copyable(id, { label: "command id" })), state,
    el("div.buttons", again, el("button.button", { type: "button", onclick: () => shown.remove() }, "Close")));
  document.getElementById("toasts").append(shown);
  return true;
}

async function ask(id, head, state) {
  try {
    const { status, admission, result } = await get(`/commands/${encodeURIComponent(id)}`);
    const { code, detail } = (result ?? admission)?.data ?? {};
    fill(head, "Decided");
    fill(state, badge(status), ` ${[code, detail].filter(Boolean).join(": ")}`);
  } catch (error) {
    // the read model holds what was decided, and nothing else
    fill(state, error.status === 404 ? "It is not decided yet." : `Nobody can tell now: ${error.message}`);
  }
}
