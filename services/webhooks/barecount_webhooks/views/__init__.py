"""The questions asked of the relay's read model, one file each."""

from .changes import Changes
from .deliveries import Deliveries
from .endpoints import Endpoints

__all__ = ["Changes", "Deliveries", "Endpoints"]
