"""Is the process alive, and is it ready: a list of named parts, each with its state and lag."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

from . import telemetry

State = Literal["ready", "starting", "failed"]


@runtime_checkable
class Ready(Protocol):
    """A part that tells whether it is ready. `lag() -> partition -> records` and `failed` (an exception or None) are optional."""

    @property
    def ready(self) -> bool: ...


class Health:
    """The parts of one service. A part that is added shows on /health/ready, and its lag on /metrics."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._parts: dict[str, Ready | Callable[[], bool]] = {}

    def add(self, name: str, part: Ready | Callable[[], bool]) -> None:
        """A part with `ready`, or a function that tells whether it is."""
        self._parts[name] = part
        lag = getattr(part, "lag", None)
        if callable(lag):
            telemetry.watch_lag(f"{self._service}.{name}", lag)

    @property
    def alive(self) -> bool:
        """False when a part has failed for good: whoever runs the process should start it again."""
        return all(getattr(part, "failed", None) is None for part in self._parts.values())

    @property
    def ready(self) -> bool:
        return all(_state(part) == "ready" for part in self._parts.values())

    def report(self) -> dict[str, Any]:
        """The document of /health/ready."""
        return {"service": self._service, "ready": self.ready, "checks": {name: _check(part) for name, part in self._parts.items()}}

    def close(self) -> None:
        for name in self._parts:
            telemetry.unwatch_lag(f"{self._service}.{name}")


def _state(part: Ready | Callable[[], bool]) -> State:
    if getattr(part, "failed", None) is not None:
        return "failed"
    ready = part.ready if isinstance(part, Ready) else part()
    return "ready" if ready else "starting"


def _check(part: Ready | Callable[[], bool]) -> dict[str, Any]:
    found: dict[str, Any] = {"state": _state(part)}
    failed = getattr(part, "failed", None)
    if failed is not None:
        # the kind only: an exception's text may hold addresses or data, and this route needs no token
        found["error"] = type(failed).__name__
    lag = getattr(part, "lag", None)
    if callable(lag):
        behind: Mapping[Any, int] = lag()
        found["lag"] = sum(behind.values())
        found["partitions"] = {"/".join(map(str, key)) if isinstance(key, tuple) else str(key): value for key, value in behind.items()}
    return found
