"""The questions asked of lineage's read model, one file each."""

from .events import Events
from .graph import Graph
from .manifests import Manifests

__all__ = ["Events", "Graph", "Manifests"]
