"""What we emit, judged by OpenLineage: the client's own generated classes, and the specification's JSON Schemas where they are at hand.

The classes come from the PyPI package openlineage-python (Apache-2.0), generated from the specification. The schemas are not copied into
this repository: `OPENLINEAGE_SPEC=<a checkout of OpenLineage/OpenLineage>/spec` lets the last test judge by them too.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import attr
import pytest
from barecount_contracts import Envelope, Message, Position, RunCancelled, RunFailed, RunTotals, WorkerAnnounced
from barecount_lineage.domain.describe import describe
from barecount_lineage.domain.follow import FollowState, follow
from barecount_lineage.domain.openlineage import FACETS

from tests.integration.lineage.kit import event_of, life, plan

generated = pytest.importorskip("openlineage.client.generated", reason="install the dependency group `conformance`")
from openlineage.client.generated import base  # noqa: E402

AT = datetime(2025, 10, 5, 6, 0, tzinfo=UTC)


def emitted() -> list[dict[str, Any]]:
    """One event of every kind that this service emits."""
    totals = RunTotals(records_in=9, records_out=0, dead_lettered=1, error_rate="0.111111", duration_ms=5, reconciled=False)
    failed = RunFailed(run_id="f", plan=plan(), plan_digest="sha256:p", totals=totals, stage="read", error_type="data", error_message="bad")
    cancelled = RunCancelled(run_id="c", plan=plan(), plan_digest="sha256:p", totals=totals, reason="not wanted")
    announced = WorkerAnnounced(worker_id="w1", incarnation="i", pool="default", slots=1, code_version="0.1.0")
    payloads: list[Message] = [announced, *life("s"), *life("r", rerun_of="s"), *life("f")[:3], failed, *life("c")[:1], cancelled]
    state, events = FollowState(), []
    for offset, payload in enumerate(payloads):
        envelope: Envelope = event_of(payload)
        state, emission = follow(state, envelope, Position(topic="runs.events", partition=0, offset=offset))
        if emission is not None:
            events.append(describe(emission, AT))
    return events


def facets_of(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    holders = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
    for holder in holders:
        for kind in ("facets", "inputFacets", "outputFacets"):
            yield from holder.get(kind, {}).items()


def facet_classes() -> dict[str, type]:
    """Schema URL -> class, of every facet that the client knows."""
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for value in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, base.BaseFacet):
                found[value._get_schema()] = value
    return found


def test_every_kind_of_event_is_there() -> None:
    events = emitted()
    assert {event["eventType"] for event in events} == {"START", "COMPLETE", "FAIL", "ABORT"}
    assert {key for event in events for key, _ in facets_of(event)} == set(FACETS)


def test_every_standard_facet_is_one_that_the_client_knows_in_this_version() -> None:
    classes = facet_classes()
    for event in emitted():
        for key, value in facets_of(event):
            if key.startswith("barecount_"):
                continue
            cls = classes[value["_schemaURL"]]
            given = {name: item for name, item in value.items() if not name.startswith("_")}
            # the classes are closed: an unknown or a missing field raises
            made = cls(**given)
            assert {field.name for field in attr.fields(cls)} >= set(given)
            assert made._get_schema() == value["_schemaURL"]


def test_the_event_itself_is_a_run_event() -> None:
    for event in emitted():
        made = base.RunEvent(
            eventTime=event["eventTime"],
            producer=event["producer"],
            eventType=base.EventType(event["eventType"]),
            run=base.Run(**event["run"]),
            job=base.Job(**event["job"]),
            inputs=[base.InputDataset(**item) for item in event["inputs"]],
            outputs=[base.OutputDataset(**item) for item in event["outputs"]],
        )
        assert made.schemaURL == event["schemaURL"]
        assert UUID(event["run"]["runId"])


@pytest.mark.skipif("OPENLINEAGE_SPEC" not in os.environ, reason="OPENLINEAGE_SPEC names no checkout of the specification")
def test_the_specifications_schemas_accept_every_event() -> None:
    from jsonschema import Draft202012Validator, FormatChecker
    from referencing import Registry, Resource

    spec = Path(os.environ["OPENLINEAGE_SPEC"])
    schemas = [json.loads(path.read_text()) for path in (spec / "OpenLineage.json", *sorted((spec / "facets").glob("*.json")))]
    registry: Any = Registry().with_resources([(schema["$id"], Resource.from_contents(schema)) for schema in schemas])
    event_schema = Draft202012Validator(schemas[0], registry=registry, format_checker=FormatChecker())
    for event in emitted():
        event_schema.validate(event)
        for key, value in facets_of(event):
            if not key.startswith("barecount_"):
                Draft202012Validator({"$ref": value["_schemaURL"]}, registry=registry, format_checker=FormatChecker()).validate(value)
