"""The command service's routes, one file a topic. Each: parse, permission, call the desk, answer."""

from fastapi import APIRouter

from . import commands, contracts, governance, pipelines, publishers, runs, webhooks
from . import registry as registry
from .desk import Desk

__all__ = ["Desk", "routers"]


def routers(desk: Desk) -> list[APIRouter]:
    """Every route of the service. `/pipelines/replay` stands before `/pipelines/{name}`."""
    return [module.router(desk) for module in (runs, pipelines, contracts, registry, governance, publishers, commands, webhooks)]
