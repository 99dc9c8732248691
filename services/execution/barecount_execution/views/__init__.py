"""The questions that execution's read model answers, one file each."""

from .bodies import BodiesView
from .drift import DriftView
from .lines import DeadLettersView, LogsView
from .runs import RunsView
from .tasks import TasksView
from .workers import WorkersView

__all__ = ["BodiesView", "DeadLettersView", "DriftView", "LogsView", "RunsView", "TasksView", "WorkersView"]
