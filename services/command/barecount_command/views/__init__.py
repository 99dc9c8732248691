"""One file per question asked of the read model."""

from .approvals import ApprovalsView
from .commands import CommandsView
from .contracts import ContractsView
from .entities import APPROVAL, PIPELINE, entities
from .pipelines import PipelinesView
from .publishers import PublishersView
from .recent import Recent
from .webhooks import WebhooksView

__all__ = [
    "APPROVAL",
    "PIPELINE",
    "ApprovalsView",
    "CommandsView",
    "ContractsView",
    "PipelinesView",
    "PublishersView",
    "Recent",
    "WebhooksView",
    "entities",
]
