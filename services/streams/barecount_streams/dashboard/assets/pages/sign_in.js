// Signing in: a bearer token, pasted. (A link of `barecount dashboard` brings one along.)

import { el, fill } from "../dom.js";
import { claims } from "../session.js";
import { copyable, field } from "../parts.js";

export function signIn(root, why, then) {
  const input = el("input", { name: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, placeholder: "eyJhbGciOi…", autofocus: true });
  const wrong = el("p.wrong", { role: "alert" }, why);
  const form = el("form.sign-in",
    el("img", { src: "/ui/mark.svg", alt: "", width: 32, height: 32 }),
    el("h1", "Barecount"),
    el("p.lead", "Sign in with a bearer token. It stays in this tab and is sent to this address only."),
    field("Token", input), wrong,
    el("button.button.primary", { type: "submit" }, "Sign in"),
    el("hr"),
    el("p.faint", "On the embedded stack, this prints an address that signs you in:"),
    copyable("barecount dashboard --role operator", { label: "command" }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!claims(input.value.trim().replace(/^Bearer\s+/i, ""))) {
      fill(wrong, "This is not a token: three parts with dots between them are expected.");
      return;
    }
    then(input.value);
  });
  fill(root, el("main.door", { id: "main" }, form));
  input.focus();
}
