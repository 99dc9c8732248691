"""Which events made a pipeline or a replay request what it is? Asked by `as_of` alone."""

from __future__ import annotations

from collections.abc import Iterator

from barecount_contracts import (
    ApprovalRejected,
    ApprovalRequested,
    PipelineCreated,
    PipelineDeleted,
    PipelinePromoted,
    PipelineUpdated,
    ReplayApproved,
    ReplayRefused,
    ReplayRequested,
    ReplayValidated,
)
from barecount_eventlog import Recorded
from barecount_readmodel import EntityEvents

PIPELINE, APPROVAL = "pipeline", "approval"


def entities() -> EntityEvents:
    return EntityEvents(("control.events",), _concerned)


def _concerned(record: Recorded) -> Iterator[tuple[str, str, str]]:
    tenant = record.envelope.tenant
    match record.payload:
        case PipelineCreated(name=name) | PipelineUpdated(name=name) | PipelinePromoted(name=name) | PipelineDeleted(name=name):
            yield tenant, PIPELINE, name
        case ReplayRequested(request_id=request) | ReplayValidated(request_id=request) | ReplayRefused(request_id=request):
            yield tenant, APPROVAL, request
        case ApprovalRequested(request_id=request) | ReplayApproved(request_id=request) | ApprovalRejected(request_id=request):
            yield tenant, APPROVAL, request
        case _:
            pass
