"""Which changes a stream shows: what the client asks for, within what its roles may read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from barecount_contracts import READ_ACTIONS, matches


@dataclass(frozen=True, slots=True)
class Selection:
    """An empty field does not narrow. types: exact, `<kind>.*` or `*`."""

    types: tuple[str, ...] = ()
    kinds: frozenset[str] = frozenset()
    pipelines: frozenset[str] = frozenset()
    run_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Told:
    """What a selection looks at, of one change."""

    tenant: str
    type: str
    kind: str
    pipeline: str | None
    run_id: str | None


def readable_kinds(may: Callable[[str], bool]) -> frozenset[str]:
    """may: whether the reader's roles have an action of permissions.yaml."""
    return frozenset(kind for kind, action in READ_ACTIONS.items() if may(action))


def shows(selection: Selection, tenant: str, readable: frozenset[str], change: Told) -> bool:
    """Tenant and permission come first; no filter widens them."""
    return (
        change.tenant == tenant
        and change.kind in readable
        and (not selection.types or matches(selection.types, change.type))
        and (not selection.kinds or change.kind in selection.kinds)
        and (not selection.pipelines or change.pipeline in selection.pipelines)
        and (not selection.run_ids or change.run_id in selection.run_ids)
    )
