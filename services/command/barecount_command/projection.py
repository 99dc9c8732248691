"""Events into rows: the views of this service, side by side."""

from __future__ import annotations

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Database, Projector

from .views import ApprovalsView, CommandsView, ContractsView, PipelinesView


def command_projector(kafka: KafkaSettings, database: Database) -> Projector:
    """Projects `control.events` and, for the results of commands, `runs.events`."""
    views = (CommandsView(), PipelinesView(), ContractsView(), ApprovalsView())
    return Projector(kafka=kafka, database=database, service="command", views=views)
