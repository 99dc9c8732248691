"""Execution's routes, one file a topic. All of them read."""

from __future__ import annotations

from fastapi import APIRouter

from . import lines, runs, slos, workers


def routers() -> list[APIRouter]:
    return [runs.router, lines.router, workers.router, slos.router]
