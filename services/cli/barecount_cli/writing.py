"""What a verb says of a write: what became of the command, or that it is accepted and not decided yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import output
from .errors import WaitTimeoutError


def told(answer: dict[str, Any], words: str | Callable[[dict[str, Any]], str], shape: str, **more: Any) -> None:
    """Prints the answer and `more` as JSON, or in words once it is decided. words: may be made from the event's data.

    Raises: WaitTimeoutError of an undecided command, with JSON after it was printed.
    """
    if shape == "json":
        output.as_json({**answer, **more})
    data = decided(answer)
    if shape != "json":
        output.console.print(words if isinstance(words, str) else words(data), highlight=False, soft_wrap=True)


def decided(answer: dict[str, Any]) -> dict[str, Any]:
    """The data of the event that a write was decided by. Raises: WaitTimeoutError naming a command that stands undecided."""
    if (event := answer.get("event")) is None:
        command = answer["command_id"]
        raise WaitTimeoutError(
            f"the command {command} is accepted and not decided yet: what becomes of it is not known here",
            f"Do not send it anew; `barecount api get /commands/{command}` shows what became of it, and not-found until then.",
        )
    data = event["data"]
    return data if isinstance(data, dict) else {}
