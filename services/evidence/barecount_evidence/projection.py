"""Ledger records into rows."""

from __future__ import annotations

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Database, Projector, View

from .views import Checkpoints, Coverage, Records

VIEWS: tuple[View, ...] = (Records(), Coverage(), Checkpoints())


def projector(kafka: KafkaSettings, database: Database) -> Projector:
    return Projector(kafka=kafka, database=database, service="evidence", views=VIEWS)
