// The rows of the runs list, and how a change makes them newer. Without elements, so that it can be reasoned about by itself.

const RANK = { requested: 0, queued: 1, running: 2, cancelling: 3, succeeded: 4, failed: 4, cancelled: 4, refused: 4 };
const ENDS = { "run.succeeded": "succeeded", "run.failed": "failed", "run.cancelled": "cancelled", "run.refused": "refused" };
const BECOMES = { "run.requested": "requested", "run.queued": "queued", "run.started": "running", "run.cancelling": "cancelling", ...ENDS };

export const ended = (status) => RANK[status] === 4;
export const rank = (status) => RANK[status] ?? 0;

/** The status that a change says its run has, or null. */
export const statusOf = (change, type) => BECOMES[type] ?? (change.status in RANK ? change.status : null);

export class RunRows {
  #rows = new Map();

  /** Rows of the API. What a change has already made newer stays: the read model may be behind the stream. */
  load(items) {
    for (const item of items) {
      const held = this.#rows.get(item.run_id);
      this.#rows.set(item.run_id, held && rank(held.status) > rank(item.status) ? { ...item, ...known(held) } : { ...held, ...item });
    }
  }

  clear() {
    this.#rows.clear();
  }

  /** Applies a change of a run. A change older than what is held tells nothing new: the status never goes back. */
  apply(change, { type, time }) {
    if (change.kind !== "run") return null;
    const id = change.run_id ?? change.id;
    const held = this.#rows.get(id) ?? begun(id, change, time);
    const status = statusOf(change, type);
    const row = { ...held };
    row.pipeline ??= change.pipeline ?? null;
    row.environment ??= change.environment ?? null;
    row.rerun_of ??= change.rerun_of ?? null;
    if (!row.data_partitions?.length) row.data_partitions = change.data_partitions ?? [];
    if (status && rank(status) >= rank(held.status) && !ended(held.status)) row.status = status;
    if (type === "run.started") row.started_at ??= time;
    if (type.startsWith("task.") && change.stage && !ended(row.status)) row.stage = change.stage;
    if (ENDS[type]) {
      Object.assign(row, { ended_at: row.ended_at ?? time, totals: row.totals ?? change.totals ?? null, stage: null });
      row.error ??= change.failure ? { stage: change.failure.stage, error_type: change.failure.error_type, message: change.failure.message } : null;
    }
    this.#rows.set(id, row);
    return row;
  }

  /** Newest first, those that fit. */
  shown({ pipeline, status, text }) {
    const needle = (text ?? "").trim().toLowerCase();
    const fits = (row) =>
      (!pipeline || row.pipeline === pipeline) && (!status || row.status === status) &&
      (!needle || [row.run_id, row.pipeline, row.rerun_of, row.error?.error_type, ...(row.data_partitions ?? [])].some((one) => one?.toLowerCase().includes(needle)));
    return [...this.#rows.values()].filter(fits).sort((a, b) => (a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : a.run_id < b.run_id ? 1 : -1));
  }

  pipelines() {
    return [...new Set([...this.#rows.values()].map((row) => row.pipeline).filter(Boolean))].sort();
  }

  get size() {
    return this.#rows.size;
  }
}

const known = (row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null && value !== undefined && value.length !== 0));

const begun = (id, change, time) => ({
  run_id: id, status: "requested", pipeline: null, environment: null, data_partitions: [], rerun_of: null,
  created_at: time, started_at: null, ended_at: null, totals: null, error: null,
});
