"""Pure: what the command service knows (`state`), how it answers a command (`decider`) and what an event changes (`evolve`)."""

from .decider import CommandDecider
from .signatures import admit_signed
from .state import State, Tenant

__all__ = ["CommandDecider", "State", "Tenant", "admit_signed"]
