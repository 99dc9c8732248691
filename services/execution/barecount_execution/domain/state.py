"""Everything the owner of one inbox partition knows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from barecount_contracts import Bodies
from immutables import Map

from .lane import Lane, Ready, Waiting, Working
from .pool import Item, Pool, Worker
from .run import Run, RunKey


@dataclass(frozen=True, slots=True)
class Shared:
    """One bodies object for every run that has the same; kept while a run uses it."""

    bodies: Bodies
    uses: int


@dataclass(frozen=True, slots=True)
class Lease:
    """length: how far each word of the worker carries. heard: its worker said something, or has had its second chance."""

    item: Item
    until: datetime
    length: timedelta
    heard: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """leases: by nonce, every open attempt. retries: lanes that wait for a time. tickets: grants so far by app id.

    ended: ids of ended runs, nothing more of them. volumes: records that sources brought lately (drift.py), by read stage of a pipeline.
    bodies: by the digests that they stand for. clock: time of the latest event.
    """

    clock: datetime | None = None
    pools: Map[str, Pool] = field(default_factory=Map)
    workers: Map[str, Worker] = field(default_factory=Map)
    runs: Map[RunKey, Run] = field(default_factory=Map)
    ended: Map[RunKey, bool] = field(default_factory=Map)
    leases: Map[str, Lease] = field(default_factory=Map)
    retries: Map[Item, datetime] = field(default_factory=Map)
    tickets: Map[str, int] = field(default_factory=Map)
    bodies: Map[str, Shared] = field(default_factory=Map)
    volumes: Map[str, tuple[tuple[str, int], ...]] = field(default_factory=Map)

    def pool(self, name: str) -> Pool:
        return self.pools.get(name, Pool(name))

    def with_pool(self, pool: Pool) -> State:
        return replace(self, pools=self.pools.set(pool.name, pool))

    def with_run(self, run: Run) -> State:
        return replace(self, runs=self.runs.set(run.key, run))

    def with_worker(self, worker: Worker) -> State:
        return replace(self, workers=self.workers.set(worker.worker_id, worker))

    def with_lane(self, run: Run, lane: Lane) -> State:
        """The lane as it is now, standing in line exactly when it is ready."""
        item = (run.tenant, run.run_id, lane.data_partition)
        pool = (
            self.pool(run.pool).without(run.tenant, (item,))
            if isinstance(run.lane(lane.data_partition).step, Ready)
            else self.pool(run.pool)
        )
        retries = self.retries.delete(item) if item in self.retries else self.retries
        match lane.step:
            case Ready(fence=True):
                pool = pool.with_fences((item,))
            case Ready():
                pool = pool.with_going(item)
            case Waiting(not_before=at):
                retries = retries.set(item, at)
            case _:
                pass
        return replace(self.with_run(run.with_lane(lane)).with_pool(pool), retries=retries)

    def overdue(self, now: datetime) -> tuple[list[str], list[str]]:
        """Nonces whose lease is over: those that are lost, and those that were never heard of and get one more.

        A dispatch bears the time of the record that caused it. When its owner was away or behind, that lease was short or over before
        the worker could see the task; the tick that finds it overdue was written after the dispatch, so the lease starts again there.
        """
        lost: list[str] = []
        spared: list[str] = []
        for nonce, lease in sorted(self.leases.items(), key=lambda pair: (pair[1].until, pair[0])):
            if lease.until <= now:
                step = self.runs[lease.item[:2]].lane(lease.item[2]).step
                interrupted = isinstance(step, Working) and step.interrupted
                (lost if lease.heard or interrupted else spared).append(nonce)
        return lost, spared

    def deadline(self) -> datetime | None:
        """The earliest lease or retry time."""
        times = [lease.until for lease in self.leases.values()]
        times += self.retries.values()
        return min(times, default=None)
