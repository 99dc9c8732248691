"""Which service may touch what in Kafka, derived from contracts/topics.yaml and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from barecount_contracts import Catalogue

from .passwords import PRINCIPALS, PUBLISHER


@dataclass(frozen=True)
class Permission:
    """One allowed operation of one principal. `prefixed`: the name stands for everything that begins with it."""

    principal: str
    resource: Literal["TOPIC", "GROUP", "TRANSACTIONAL_ID", "BROKER"]
    name: str
    operation: Literal["READ", "WRITE", "DESCRIBE", "IDEMPOTENT_WRITE"]
    prefixed: bool = False


def permissions(catalogue: Catalogue) -> list[Permission]:
    """Every permission of every service: its topics, its transactional ids and its groups; the admin is a super user and needs none."""
    services = [name for name in PRINCIPALS if name != "admin"]
    unknown = {name for topic in catalogue.topics.values() for name in (*topic.writers, *topic.readers)} - set(services)
    if unknown:
        raise ValueError(f"topics.yaml names {sorted(unknown)}, who have no principal: add them to PRINCIPALS in passwords.py")
    rows: list[Permission] = []
    for service in services:
        rows += [Permission(service, "TOPIC", topic.name, "WRITE") for topic in catalogue.writable_by(service)]
        rows += [Permission(service, "TOPIC", topic.name, "READ") for topic in catalogue.readable_by(service)]
        # an outsider's transaction that stays open would hold back an inbox for every reader of committed records
        if service != PUBLISHER:
            rows += [Permission(service, "TRANSACTIONAL_ID", f"{service}.", operation, True) for operation in ("WRITE", "DESCRIBE")]
        rows += [Permission(service, "GROUP", f"{service}.", "READ", True)]
        rows += [Permission(service, "BROKER", "kafka-cluster", "IDEMPOTENT_WRITE")]
    return rows
