"""The questions asked of the ledger's read model, one file each."""

from .checkpoints import Checkpoints
from .coverage import Coverage
from .records import Records

__all__ = ["Checkpoints", "Coverage", "Records"]
