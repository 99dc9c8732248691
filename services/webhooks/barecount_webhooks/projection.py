"""Endpoints, events and attempts into rows: all that the relay knows, rebuilt from the log whenever it is lost."""

from __future__ import annotations

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Database, Projector, View

from .views import Changes, Deliveries, Endpoints

# in this order: deliveries are made of what the others have written in the same transaction
VIEWS: tuple[View, ...] = (Endpoints(), Changes(), Deliveries())


def projector(kafka: KafkaSettings, database: Database) -> Projector:
    return Projector(kafka=kafka, database=database, service="webhooks", views=VIEWS)
