"""The chain of a run: which of its records came from which, from the HTTP call to the commit.

A record's parent is the one that made it necessary. The ledger does not hold inboxes, so the way goes over what both sides name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from barecount_contracts import EvidenceRecord, Position

API_CALL = "ApiCalled"
DERIVED = "derived from it"
RELIES_ON = "facts.leaf_index"
"""The fact of a replay's validation that names the leaf which proved the earlier run."""


@dataclass(frozen=True, slots=True)
class Link:
    """One record of the chain: `parent` and `relies_on` are leaf indexes; `why` says what joined it to its parent."""

    index: int
    parent: int | None
    why: str
    relies_on: tuple[int, ...] = ()


def relied_on(record: EvidenceRecord) -> tuple[int, ...]:
    """Leaves that the record says it was decided on."""
    found = record.facts.get(RELIES_ON)
    return (found,) if isinstance(found, int) and not isinstance(found, bool) else ()


def links(records: Sequence[tuple[int, EvidenceRecord]]) -> list[Link]:
    """Every record's parent among these, given by leaf index in ledger order.

    Tried in this order: the record that its cause was derived from (a policy's command); the record that is its cause; the HTTP call that
    carried its command; the outcome of the same command; what last happened to the same attempt, then to the same thing; what began the
    same chain.
    """
    calls = {record.command_id: index for index, record in reversed(records) if record.type == API_CALL and record.command_id is not None}
    at: dict[Position, int] = {record.source: index for index, record in records}
    outcomes: dict[Position, int] = {}
    last_of: dict[tuple[object, ...], int] = {}
    first_of: dict[UUID, int] = {}
    found: list[Link] = []
    for index, record in records:
        subject, attempt = _thing(record), _attempt(record)
        parent, why = _parent(index, record, at, calls, outcomes)
        if parent is None and record.type != API_CALL:
            if attempt is not None and attempt in last_of:
                parent, why = last_of[attempt], "next of the same attempt"
            elif subject is not None and subject in last_of:
                parent, why = last_of[subject], "next of the same thing"
            elif first_of.get(record.correlation) is not None:
                parent, why = first_of[record.correlation], "same chain"
        found.append(Link(index, parent, why, relied_on(record)))
        if record.type != API_CALL:
            # what another log derived from it is beside the thing's own way
            if subject is not None and why != DERIVED:
                last_of[subject] = index
            if attempt is not None:
                last_of[attempt] = index
            if record.cause is not None:
                outcomes.setdefault(record.cause, index)
            first_of.setdefault(record.correlation, index)
    return found


def _thing(record: EvidenceRecord) -> tuple[object, ...] | None:
    return None if record.subject is None else (record.subject.kind, record.subject.id)


def _attempt(record: EvidenceRecord) -> tuple[object, ...] | None:
    """The attempt at a stage that a record is about; a task's records name it."""
    if record.subject is None or "task.attempt" not in record.facts:
        return None
    named = tuple(record.facts.get(f"task.{part}") for part in ("stage", "data_partition", "attempt"))
    return (record.subject.kind, record.subject.id, *named)


def _parent(
    index: int, record: EvidenceRecord, at: Mapping[Position, int], calls: Mapping[UUID, int], outcomes: Mapping[Position, int]
) -> tuple[int | None, str]:
    if record.type == API_CALL:
        return None, "the call"
    if record.origin is not None and record.origin in at:
        return at[record.origin], "a policy derived its command from it"
    if record.cause is not None and record.cause in at:
        return at[record.cause], DERIVED
    if record.cause is not None and record.cause in outcomes:
        return outcomes[record.cause], "decided together"
    if record.command_id is not None and calls.get(record.command_id, index) != index:
        return calls[record.command_id], "the call's command"
    return None, "the first of its chain"
