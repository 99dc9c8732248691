"""Events into rows: the views of this service, side by side."""

from __future__ import annotations

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Database, Projector, View

from .views import ApprovalsView, CommandsView, ContractsView, PipelinesView, PublishersView, WebhooksView

VIEWS: tuple[View, ...] = (CommandsView(), PipelinesView(), ContractsView(), ApprovalsView(), PublishersView(), WebhooksView())


def command_projector(kafka: KafkaSettings, database: Database) -> Projector:
    """Projects `control.events` and, for the results of commands, `runs.events`."""
    return Projector(kafka=kafka, database=database, service="command", views=VIEWS)
