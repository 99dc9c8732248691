// How figures and times read.

const WHOLE = new Intl.NumberFormat("en-US");
const ABSOLUTE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

export const number = (value) => (value === null || value === undefined ? "–" : WHOLE.format(value));

/** A decimal string such as 0.003405 as a percentage; exact zero stays plain. */
export function rate(text) {
  if (text === null || text === undefined) return "–";
  const share = Number(text) * 100;
  if (share === 0) return "0%";
  return share < 0.01 ? "<0.01%" : `${share.toFixed(2)}%`;
}

/** Milliseconds as people say them: 158 ms, 9.4 s, 3 m 05 s, 2 h 10 m. */
export function duration(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return "–";
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${String(seconds % 60).padStart(2, "0")} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60 * 48) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} m`;
  return `${Math.floor(minutes / 1440)} d`;
}

export function ago(time, now = Date.now()) {
  const seconds = Math.round((now - Date.parse(time)) / 1000);
  const size = Math.abs(seconds);
  // clocks differ a little: a moment in the future is now
  if (size < 3) return "now";
  const said = size < 60 ? `${size} s` : size < 3600 ? `${Math.floor(size / 60)} min` : size < 86_400 ? `${Math.floor(size / 3600)} h` : `${Math.floor(size / 86_400)} d`;
  return seconds > 0 ? `${said} ago` : `in ${said}`;
}

export const absolute = (time) => ABSOLUTE.format(new Date(time));
export const clock = (time) => CLOCK.format(new Date(time));
export const bytes = (count) => (count < 1024 ? `${count} B` : count < 1048576 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 1048576).toFixed(1)} MiB`);

/** The beginning of a digest or id, enough to tell two apart. */
export const short = (text, size = 12) => (text && text.length > size + 1 ? `${text.slice(0, size)}…` : text || "");

/** RunQueued → run queued; reconciliation-failed → reconciliation failed */
export const words = (name) => name.replace(/([a-z])([A-Z])/g, "$1 $2").replaceAll("-", " ").toLowerCase();
