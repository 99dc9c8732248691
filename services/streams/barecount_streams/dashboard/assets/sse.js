// Server-sent events as the WHATWG describes them, from the pieces in which a fetch() body arrives. (EventSource cannot send a token.)

/** feed(text) → the events that are now whole: {id, event, data}. An event with only an id has data null. */
export class EventParser {
  #rest = "";
  #begun = { id: null, event: "message", data: [] };
  retry = null;

  feed(text) {
    const found = [];
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line === "") this.#close(found);
      else this.#field(line);
    }
    return found;
  }

  #field(line) {
    if (line.startsWith(":")) return;
    const at = line.indexOf(":");
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (name === "data") this.#begun.data.push(value);
    else if (name === "event") this.#begun.event = value;
    else if (name === "id" && !value.includes("\0")) this.#begun.id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
  }

  #close(found) {
    const { id, event, data } = this.#begun;
    this.#begun = { id: null, event: "message", data: [] };
    if (data.length) found.push({ id, event, data: data.join("\n") });
    else if (id !== null) found.push({ id, event, data: null });
  }
}
