"""Laws that hold whatever happens in whatever order."""

from __future__ import annotations

from collections import Counter

from barecount_contracts import PublishTicketGranted, RunCancelled, RunFailed, RunSucceeded, RunTask, TaskDispatched
from barecount_execution.domain import ExecutionDecider
from barecount_execution.domain.lane import Finished, Halted, Ready, Waiting, Working
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.execution.world import World, manifest, published

ENDS = (RunSucceeded, RunFailed, RunCancelled)
WORKERS, RUNS, TENANTS = ("w1", "w2", "w3"), ("r1", "r2", "r3", "r4"), ("acme", "globex")

_steps = st.one_of(
    st.tuples(st.just("announce"), st.sampled_from(WORKERS), st.sampled_from("abc"), st.integers(0, 3)),
    st.tuples(st.just("admit"), st.sampled_from(RUNS), st.sampled_from(TENANTS), st.integers(1, 3)),
    st.tuples(st.just("stop"), st.sampled_from(RUNS), st.sampled_from(TENANTS)),
    st.tuples(st.just("tick"), st.sampled_from((0.0, 1.0, 3.0, 11.0, 61.0))),
    # most steps are reports, so that runs get on; the number picks one of the latest tasks, often the open ones
    st.tuples(st.just("report"), st.sampled_from(("started", "alive", "succeeded", "failed", "broken", "found")), st.integers(0, 5)),
    st.tuples(st.just("report"), st.just("succeeded"), st.integers(0, 2)),
)


def play(world: World, step: tuple[object, ...]) -> int:
    """Does one step; how many own events answered it."""
    match step:
        case ("announce", str(worker), str(incarnation), int(slots)):
            return len(world.announce(worker, incarnation, slots))
        case ("admit", str(run), str(tenant), int(days)):
            names = [f"2025-10-0{day}" for day in range(1, days + 1)]
            return len(world.admit(run, *names, tenant=tenant, document=manifest(attempts=days)))
        case ("stop", str(run), str(tenant)):
            return len(world.stop(run, tenant))
        case ("tick", float(seconds)):
            return len(world.later(seconds).tick())
        case ("report", str(kind), int(back)):
            return report(world, kind, back)
    raise AssertionError(step)


def report(world: World, kind: str, back: int) -> int:
    if not world.tasks:
        return len(world.tick())
    task: RunTask = world.tasks[max(0, len(world.tasks) - 1 - back)]
    match kind:
        case "started":
            return len(world.started(task))
        case "alive":
            return len(world.alive(task))
        case "succeeded":
            return len(world.succeeded(task))
        case "found" if task.ticket is not None and task.ticket.superseded:
            return len(world.succeeded(task, publication=published(task, ticket=task.ticket.superseded[0], already=True)))
        case "failed":
            return len(world.failed(task))
        case _:
            return len(world.failed(task, retriable=True))


def check(world: World) -> None:
    """What must hold between any two commands."""
    state = world.state
    busy = Counter(run.lane(lease.item[2]).step.task.worker_id for lease in state.leases.values() for run in [state.runs[lease.item[:2]]])
    for worker in state.workers.values():
        own = set(worker.busy)
        assert own <= set(state.leases)
        assert worker.free == 0 or len(own) < worker.slots
    waiting = set()
    for pool in state.pools.values():
        items = [*pool.fences, *(item for line in pool.lines.values() for item in (*line.going, *line.fresh))]
        assert len(items) == len(set(items)), "a lane stands in line twice"
        waiting |= set(items)
        assert all(pool.holding.values())
    assert sum(sum(pool.holding.values()) for pool in state.pools.values()) == len(state.leases) == sum(busy.values())
    for run in state.runs.values():
        assert not run.done
        assert not (run.closing and run.still)
        assert not set(state.ended) & {run.key}
        for lane in run.lanes.values():
            item = (run.tenant, run.run_id, lane.data_partition)
            match lane.step:
                case Ready(fence=fence):
                    assert item in waiting
                    assert fence == run.closing
                case Waiting(not_before=at, fence=fence):
                    assert state.retries[item] == at
                    assert fence == run.closing
                case Working(task=task, lease_until=until, fence=fence):
                    assert state.leases[task.nonce].until == until
                    assert run.closing or not fence
                case Halted():
                    assert run.closing
                    assert not lane.doubtful
                case Finished():
                    assert lane.stage == len(run.stages)
            assert (item in waiting) == isinstance(lane.step, Ready)
            assert (item in state.retries) == isinstance(lane.step, Waiting)
    announced = [worker for worker in state.workers.values() if worker.free]
    assert not (waiting and announced), "somebody waits beside a free slot"
    assert (state.deadline() is None) == (not state.leases and not state.retries)


def check_log(world: World) -> None:
    """What must hold of the whole log."""
    ended: set[tuple[str, str]] = set()
    numbers: dict[str, int] = {}
    open_now: dict[str, set[str]] = {}
    for event in world.events:
        payload = event.payload()
        key = (event.tenant, str(event.data.get("run_id")))
        match payload:
            case TaskDispatched(task=task):
                assert key not in ended, "dispatched after the end"
                open_now.setdefault(task.worker_id, set()).add(task.nonce)
            case PublishTicketGranted(ticket=ticket):
                assert ticket.fence > numbers.get(ticket.app_id, 0)
                assert ticket.number > ticket.fence
                assert all(number < ticket.fence for number in ticket.superseded)
                numbers[ticket.app_id] = ticket.number
        if isinstance(payload, ENDS):
            assert key not in ended, "ended twice"
            ended.add(key)
    assert ended == set(world.state.ended)
    nonces = [event.data["task"]["nonce"] for event in world.events if event.type == "TaskDispatched"]
    assert len(nonces) == len(set(nonces))


@settings(max_examples=300, deadline=None)
@given(st.lists(_steps, max_size=60), st.integers(0, 60))
def test_the_laws_hold_for_any_sequence_of_commands(steps: list[tuple[object, ...]], cut: int) -> None:
    world, decider = World(), ExecutionDecider()
    snapshot, after = decider.dump(world.state), 0
    for number, step in enumerate(steps):
        assert play(world, step) >= 1, "a command without an outcome"
        check(world)
        slots_hold(world)
        if number == cut:
            snapshot, after = decider.dump(world.state), len(world.events)
    check_log(world)
    assert world.restored() == world.state
    state = decider.load(snapshot)
    for event in world.events[after:]:
        state = decider.evolve(state, event)
    assert state == world.state
    assert decider.dump(state) == decider.dump(world.restored())


def slots_hold(world: World) -> None:
    """No dispatch fills a worker beyond its slots; only announcing fewer can leave more open than slots."""
    given_now = Counter(emit.payload.task.worker_id for emit in world.answers if isinstance(emit.payload, TaskDispatched))
    for worker_id in given_now:
        worker = world.state.workers[worker_id]
        assert worker.announced
        assert len(worker.busy) <= worker.slots


@settings(max_examples=100, deadline=None)
@given(st.lists(_steps, max_size=40))
def test_every_run_ends_once_workers_behave(steps: list[tuple[object, ...]]) -> None:
    world = World()
    for step in steps:
        play(world, step)
    for _ in range(400):
        if not world.state.runs:
            break
        world.announce("steady", "s", slots=2)
        open_tasks = [task for task in world.tasks if task.task.nonce in world.state.leases]
        mine = [task for task in open_tasks if task.task.worker_id == "steady"]
        if mine:
            world.succeeded(mine[0])
        else:
            world.later(11).tick()
    assert not world.state.runs
    assert not world.state.leases
    assert not world.state.retries
    assert not world.state.bodies
    check_log(world)
