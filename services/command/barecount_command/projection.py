"""Events into rows: the views of this service, side by side."""

from __future__ import annotations

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Database, Past, Projector, Source, View

from .views import ApprovalsView, CommandsView, ContractsView, PipelinesView, PublishersView, Recent, WebhooksView, entities


def views(recent: Recent | None = None) -> tuple[View, ...]:
    """recent: is told the outcomes as they are projected."""
    seen: tuple[View, ...] = (PipelinesView(), ContractsView(), ApprovalsView(), PublishersView(), WebhooksView())
    return (CommandsView(recent), *seen, entities())


VIEWS = views()


def command_projector(kafka: KafkaSettings, database: Database, recent: Recent | None = None) -> Projector:
    """Projects `control.events` and, for the results of commands, `runs.events`."""
    return Projector(kafka=kafka, database=database, service="command", views=views(recent))


def command_past(kafka: KafkaSettings, database: Database, projector: Projector) -> Past:
    """Pipelines and replay requests as they were: a tenant's partition of `control.events` alone makes them."""
    source = Source("control.events", by_tenant=True, inbox="pipelines.commands")
    return Past(kafka=kafka, database=database, projector=projector, sources=[source], views=[PipelinesView(), ApprovalsView()])
