"""Events into rows: every view of this service, kept by one projector; and how a run's past is told by them."""

from __future__ import annotations

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Database, Past, Projector, Source, View

from .handler import INBOX
from .settings import SERVICE
from .views import (
    BodiesView,
    DeadLettersView,
    DriftView,
    LogsView,
    RunsView,
    StandingView,
    TasksView,
    WorkersView,
    entities,
    standing_at,
)


def views() -> list[View]:
    seen: list[View] = [BodiesView(), RunsView(), TasksView(), WorkersView(), LogsView(), DeadLettersView(), DriftView()]
    return [*seen, entities(), StandingView()]


def projector(kafka: KafkaSettings, database: Database) -> Projector:
    return Projector(kafka=kafka, database=database, service=SERVICE, views=views())


def past(kafka: KafkaSettings, database: Database, projector: Projector) -> Past:
    """Runs as they were, with what they waited for: the request stands in the tenant's partition, the rest in the pools'."""
    sources = [Source("control.events", by_tenant=True), Source("runs.events", by_tenant=False, inbox=INBOX)]
    told: list[View] = [RunsView(), TasksView(), WorkersView(), DriftView()]
    return Past(kafka=kafka, database=database, projector=projector, sources=sources, views=told, beside=standing_at)
