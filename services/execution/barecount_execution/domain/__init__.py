"""Pure: which run gets which slot, when an attempt is lost, who may publish, how a run ends."""

from .decider import LEASE_SECONDS, ExecutionDecider
from .state import State

__all__ = ["LEASE_SECONDS", "ExecutionDecider", "State"]
