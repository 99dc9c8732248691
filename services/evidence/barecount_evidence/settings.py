"""What this service is told beside what every service is."""

from __future__ import annotations

from barecount_chassis import Settings
from pydantic import Field


class EvidenceSettings(Settings):
    """BARECOUNT_LEDGER_ORIGIN names the log in every checkpoint: it never changes once something was signed."""

    ledger_origin: str = Field(default="barecount.local/ledger", description="The ledger's name in checkpoints and of its key")
    ledger_linger_ms: int = Field(default=0, ge=0, le=1000, description="How long a batch may grow; 0: as long as the last one commits")
