"""The questions that execution's read model answers, one file each."""

from .bodies import BodiesView
from .drift import DriftView
from .entities import RUN, StandingView, entities, standing_at
from .lines import DeadLettersView, LogsView
from .runs import RunsView
from .tasks import TasksView
from .workers import WorkersView

__all__ = [
    "RUN",
    "BodiesView",
    "DeadLettersView",
    "DriftView",
    "LogsView",
    "RunsView",
    "StandingView",
    "TasksView",
    "WorkersView",
    "entities",
    "standing_at",
]
