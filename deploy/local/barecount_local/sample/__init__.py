"""The sample: real retail transactions, the Revenue KPI pipeline and its contracts."""

from __future__ import annotations

from importlib.resources import files

from .landing import Delivery, NoSuchDay, days, deliver

__all__ = ["CONTRACTS", "MANIFEST", "Delivery", "NoSuchDay", "days", "deliver", "document"]

MANIFEST = "revenue-kpi.yaml"
CONTRACTS = ("retail-transactions.odcs.yaml", "revenue-kpi.odcs.yaml")


def document(name: str) -> str:
    """The text of one of the sample's files: MANIFEST or one of CONTRACTS."""
    return (files(__package__) / name).read_text("utf-8")
