"""Whatever was decided, the state can be rebuilt: from the whole log, or from a snapshot and the rest."""

from __future__ import annotations

from typing import Any

from barecount_command.domain import CommandDecider
from barecount_contracts import AdmitRun, CancelRun, DecideRequest, DeletePipeline, ReportLedgerFacts, RunRequested
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.command.history import History, code
from tests.unit.command.test_contracts import contract, schema
from tests.unit.command.test_pipelines import create, promote, start, update
from tests.unit.command.test_replays import RUN, facts, missing, replay


def request_of(history: History) -> str:
    pending = [event.data["request_id"] for event in history.log if event.type in ("ReplayRequested", "ApprovalRequested")]
    return str(pending[-1]) if pending else "none"


def digest_of(history: History) -> str:
    shown = [event.data["plan_digest"] for event in history.log if event.type == "ApprovalRequested"]
    return str(shown[-1]) if shown else "sha256:00"


def decide(history: History, say: Any) -> DecideRequest:
    return DecideRequest(request_id=request_of(history), decision=say, reason="so", plan_digest=digest_of(history))


MOVES: dict[str, Any] = {
    "source": lambda h: contract("retail-transactions"),
    "output": lambda h: contract(),
    "schema": lambda h: schema("orders-value", id={"type": "integer"}),
    "schema more": lambda h: schema("orders-value", id={"type": "integer"}, note={"type": "string"}),
    "create": lambda h: create(),
    "update": lambda h: update(owner=f"team {h.offset % 3}"),
    "stage": lambda h: promote("dev", "staging"),
    "promote": lambda h: promote(),
    "delete": lambda h: DeletePipeline(name="revenue-kpi"),
    "start": lambda h: start(run_id=RUN),
    "start other": lambda h: start(),
    "cancel": lambda h: CancelRun(run_id=RUN),
    "replay": lambda h: replay(),
    "replay latest": lambda h: replay(manifest_version="latest"),
    "failed": lambda h: ReportLedgerFacts(request_id=request_of(h), facts=facts()),
    "succeeded": lambda h: ReportLedgerFacts(request_id=request_of(h), facts=facts(status="succeeded")),
    "nothing": lambda h: ReportLedgerFacts(request_id=request_of(h), facts=missing()),
    "approve": lambda h: decide(h, "approve"),
    "reject": lambda h: decide(h, "reject"),
}
OPENING = ("source", "output", "create", "promote", "start")
moves = st.lists(
    st.tuples(st.sampled_from(sorted(MOVES)), st.sampled_from(["acme", "acme", "globex"]), st.sampled_from(["user:a", "user:b"])),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves, st.floats(0, 1))
def test_the_state_is_the_same_from_the_log_and_from_a_snapshot_and_its_tail(steps: list[tuple[str, str, str]], cut: float) -> None:
    history, decider = History(), CommandDecider()
    for move in OPENING:
        history.when(MOVES[move](history))
    for move, tenant, by in steps:
        history.when(MOVES[move](history), tenant=tenant, by=by)
    at = int(cut * len(history.log))
    state = decider.initial()
    for event in history.log[:at]:
        state = decider.evolve(state, event)
    state = decider.load(decider.dump(state))
    for event in history.log[at:]:
        state = decider.evolve(state, event)
    assert state == history.state
    assert decider.dump(state) == decider.dump(history.state)
    together = decider.evolve_all(decider.evolve_all(decider.initial(), history.log[:at]), history.log[at:])
    assert together == history.state
    assert decider.dump(together) == decider.dump(history.state)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves)
def test_no_run_id_is_given_twice(steps: list[tuple[str, str, str]]) -> None:
    history = History()
    for move in OPENING:
        history.when(MOVES[move](history))
    for move, tenant, by in steps:
        history.when(MOVES[move](history), tenant=tenant, by=by)
    started = [
        (e.tenant, e.data.get("new_run_id") or e.data["run_id"]) for e in history.log if e.type in ("RunRequested", "ReplayApproved")
    ]
    assert len(started) == len(set(started))


def test_a_command_of_another_inbox_is_refused() -> None:
    history = History()
    for move in OPENING:
        history.when(MOVES[move](history))
    run = history.log[-1].payload()
    assert isinstance(run, RunRequested)
    work = {"run_id": RUN, "pool": "default", "plan": run.plan, "plan_digest": run.plan_digest, "bodies": {"manifest": {}, "contracts": ()}}
    assert code(history.when(AdmitRun(**work))) == "unknown-type"
