"""Lineage and control events into rows."""

from __future__ import annotations

from barecount_eventlog import KafkaSettings
from barecount_readmodel import Database, Projector, View

from .views import Events, Graph, Manifests

VIEWS: tuple[View, ...] = (Events(), Graph(), Manifests())


def projector(kafka: KafkaSettings, database: Database) -> Projector:
    return Projector(kafka=kafka, database=database, service="lineage", views=VIEWS)
