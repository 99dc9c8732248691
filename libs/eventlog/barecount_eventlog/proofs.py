"""What can be known of a command from its bytes alone, so that another process may find it out while this one decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Proof(NamedTuple):
    """digest: `sha256:<hex>`, the command_digest. vouched: whether its assertion is signed by the key of the issuer that it names."""

    digest: str
    vouched: bool


class Prover(Protocol):
    """Works beside the owner of a partition, on a processor that it does not need itself."""

    async def prove(self, values: Sequence[bytes]) -> Sequence[Proof | None]:
        """One answer a record's value, in order; None, or too few, where nothing is known: the owner finds out by itself.

        Never raises: what is wrong with a command is the owner's to say.
        """
        ...
