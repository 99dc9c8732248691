"""The newest outcomes that this process has projected, for the callers who wait for them: most are asked for once, a moment after."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

MOST: Final = 2_000
# the documents are left out of an outcome; what is larger all the same is read from its row
LONGEST: Final = 16_384


class Told(NamedTuple):
    """data: JSON, as the row has it."""

    tenant: str
    type: str
    data: str


class Recent:
    """What `outcomes` holds at an inbox position; of the newest only.

    A batch is told before it commits, so ask only for a position that the projector has reached. A batch that is projected again tells
    the same again.
    """

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[int, int], Told] = OrderedDict()

    def add(self, at: tuple[int, int], tenant: str, type_: str, data: str) -> None:
        """at: inbox partition and offset."""
        if len(data) > LONGEST:
            return
        self._told[at] = Told(tenant, type_, data)
        self._told.move_to_end(at)
        if len(self._told) > MOST:
            self._told.popitem(last=False)

    def get(self, at: tuple[int, int], tenant: str) -> Told | None:
        """None: ask the row. Another tenant's is nobody's here either."""
        told = self._told.get(at)
        return told if told is not None and told.tenant == tenant else None
