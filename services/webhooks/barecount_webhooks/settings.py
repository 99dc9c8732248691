"""What the relay is told beside what every service is."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

from barecount_chassis import PrivateTargets, Settings, SettingsError
from pydantic import Field, field_validator

from .domain.schedule import DEFAULT_STEPS, Schedule

KEY_FILE = "webhooks.master"
KEY_BYTES = 32


class WebhooksSettings(Settings):
    """BARECOUNT_WEBHOOK_* ; the defaults are what production wants."""

    webhook_retry_seconds: str = Field(default=DEFAULT_STEPS, description="The longest wait before each further attempt, with commas")
    webhook_deadline_seconds: float = Field(default=15.0, gt=0, le=60, description="For one whole attempt")
    webhook_most_in_flight: int = Field(default=16, ge=1, le=256, description="Calls at once to one endpoint")
    webhook_give_up_days: float = Field(default=5.0, gt=0, description="An endpoint that took nothing for so long is disabled")

    @field_validator("webhook_retry_seconds")
    @classmethod
    def _is_schedule(cls, text: str) -> str:
        Schedule.parse(text)
        return text

    @field_validator("webhook_private_targets")
    @classmethod
    def _are_targets(cls, text: str) -> str:
        PrivateTargets.parse(text)
        return text

    @property
    def schedule(self) -> Schedule:
        return Schedule.parse(self.webhook_retry_seconds)

    @property
    def give_up_after(self) -> timedelta:
        return timedelta(days=self.webhook_give_up_days)


def settings() -> WebhooksSettings:
    """The environment's; ends the process with what is wrong."""
    try:
        return WebhooksSettings.load()
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from error


def master_key(folder: Path) -> bytes:
    """The key that all endpoints' secrets are derived from; only this service reads it. Raises: SettingsError naming the file."""
    path = folder / KEY_FILE
    try:
        key = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: BARECOUNT_KEYS_DIR must hold it for this service ({error.strerror})") from error
    if len(key) != KEY_BYTES:
        raise SettingsError(
            f"{path} holds {len(key)} bytes; a master key has {KEY_BYTES}. Bring the original back: another key voids every secret"
        )
    return key
