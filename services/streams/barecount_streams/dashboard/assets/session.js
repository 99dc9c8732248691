// Who looks: the token, what it says, what its roles may do. The token lives in this tab only.

const KEPT = "barecount.token";
let matrix = {};

/** Takes a token out of the address (#token=…) before anything else reads or keeps that address. */
export function adoptToken() {
  const said = new URLSearchParams(location.hash.replace(/^#/, ""));
  const token = said.get("token");
  if (!token) return;
  sessionStorage.setItem(KEPT, token.trim());
  const to = said.get("to") || "/runs";
  history.replaceState(null, "", `${location.pathname}#${to.startsWith("/") ? to : "/runs"}`);
}

export const token = () => sessionStorage.getItem(KEPT);
export const keep = (text) => sessionStorage.setItem(KEPT, text.trim().replace(/^Bearer\s+/i, ""));
export const forget = () => sessionStorage.removeItem(KEPT);

/** {subject, tenant, roles, expires, principal} as the token claims them; the API checks, this only shows. Null: not a token. */
export function claims(text = token()) {
  try {
    const part = text.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const said = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
    const roles = said.roles ?? [];
    return { subject: said.sub ?? "?", issuer: said.iss ?? "", tenant: said.tenant ?? "?", roles: [].concat(roles), expires: (said.exp ?? 0) * 1000 };
  } catch {
    return null;
  }
}

export async function loadPermissions() {
  const answer = await fetch("/ui/permissions.json");
  matrix = answer.ok ? await answer.json() : {};
}

/** Whether one of the token's roles has the action. Only decides what is shown. */
export function may(action) {
  return (claims()?.roles ?? []).some((role) => (matrix[role] ?? []).includes(action));
}

export function allowedActions() {
  return [...new Set((claims()?.roles ?? []).flatMap((role) => matrix[role] ?? []))].sort();
}

let own = null;
/** The pseudonym by which logs and requests name this person, as chassis/identity.py derives it; null where the browser cannot hash. */
export async function principal() {
  const who = claims();
  if (!who || !globalThis.crypto?.subtle) return null;
  const of = `${who.issuer}|${who.subject}`;
  if (own?.of !== of) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(of)));
    own = { of, name: "user:" + [...digest.slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  return own.name;
}
