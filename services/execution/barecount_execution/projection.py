"""Events into rows: every view of this service, kept by one projector."""

from __future__ import annotations

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Database, Projector, View

from .settings import SERVICE
from .views import BodiesView, DeadLettersView, DriftView, LogsView, RunsView, TasksView, WorkersView


def views() -> list[View]:
    return [BodiesView(), RunsView(), TasksView(), WorkersView(), LogsView(), DeadLettersView(), DriftView()]


def projector(kafka: KafkaSettings, database: Database) -> Projector:
    return Projector(kafka=kafka, database=database, service=SERVICE, views=views())
