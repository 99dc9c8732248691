"""The story of the product, told over its public API: a day that fails for a real cause, and its replay, proven.

`barecount up` ends with it; `barecount demo` tells it again with the next free run id. Nothing here knows more than a user does:
tokens, HTTP, and the landing folder into which the retailer delivers. Each step checks what it claims; a claim that does not hold
ends the story with what was expected and what came.
"""

from __future__ import annotations

from barecount_cli.settings import CliSettings
from rich.console import Console

from .chapters import confirmation, contracts, failing_run, manifest, refusals, replay
from .decision import decision
from .listening import listening, told_of_failure, told_of_success
from .telling import DAY, PIPELINE, TENANT, Story, StoryError

__all__ = ["DAY", "PIPELINE", "TENANT", "StoryError", "tell"]


def tell(settings: CliSettings | None = None, console: Console | None = None) -> None:
    """Tells the whole story.

    Raises: StoryError, or the CliError of a call that failed.
    """
    story = Story(settings or CliSettings(), console or Console())
    story.console.print(f"[bold]The story, over {story.settings.address}[/bold]", highlight=False, soft_wrap=True)
    steps = (contracts, manifest, listening, failing_run, told_of_failure, replay, confirmation, told_of_success, decision, refusals)
    try:
        for step in steps:
            step(story)
    finally:
        story.close()
