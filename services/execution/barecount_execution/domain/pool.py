"""A pool's line of work, fair between tenants, and its workers' slots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from immutables import Map

Item = tuple[str, str, str]
"""Tenant, run id, data partition: the lane that is due."""


@dataclass(frozen=True, slots=True)
class Worker:
    """busy: nonces of the attempts that hold its slots. announced: false once a lease expired, until it announces itself again."""

    worker_id: str
    incarnation: str
    pool: str
    slots: int
    busy: frozenset[str] = frozenset()
    announced: bool = True

    @property
    def free(self) -> int:
        return max(0, self.slots - len(self.busy)) if self.announced else 0


@dataclass(frozen=True, slots=True)
class Line:
    """What one tenant waits for, first come first. going: lanes under way, which go before `fresh` ones so that runs end."""

    going: tuple[Item, ...] = ()
    fresh: tuple[Item, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.going or self.fresh)

    @property
    def first(self) -> Item:
        return self.going[0] if self.going else self.fresh[0]

    def without(self, items: frozenset[Item]) -> Line:
        return Line(_without(self.going, items), _without(self.fresh, items))


@dataclass(frozen=True, slots=True)
class Pool:
    """fences: they go first, because a run waits for nothing else to end.

    holding: open attempts by tenant. turns: by tenant the number of the dispatch that served it last.
    """

    name: str
    fences: tuple[Item, ...] = ()
    lines: Map[str, Line] = field(default_factory=Map)
    holding: Map[str, int] = field(default_factory=Map)
    turns: Map[str, int] = field(default_factory=Map)
    turn: int = 0

    def next(self) -> Item | None:
        """Whose turn it is: the tenant with the fewest open attempts, of those the one served longest ago."""
        if self.fences:
            return self.fences[0]
        if not self.lines:
            return None
        tenant = min(self.lines, key=lambda t: (self.holding.get(t, 0), self.turns.get(t, 0), t))
        return self.lines[tenant].first

    def with_fences(self, items: Iterable[Item]) -> Pool:
        return replace(self, fences=(*self.fences, *items))

    def with_going(self, item: Item) -> Pool:
        line = self.lines.get(item[0], Line())
        return replace(self, lines=self.lines.set(item[0], replace(line, going=(*line.going, item))))

    def with_fresh(self, tenant: str, items: Iterable[Item]) -> Pool:
        line = self.lines.get(tenant, Line())
        return replace(self, lines=self.lines.set(tenant, replace(line, fresh=(*line.fresh, *items))))

    def without(self, tenant: str, items: Iterable[Item]) -> Pool:
        """These lanes wait no longer."""
        gone = frozenset(items)
        if not gone:
            return self
        lines = self.lines
        if tenant in lines:
            line = lines[tenant].without(gone)
            lines = lines.set(tenant, line) if line else lines.delete(tenant)
        return replace(self, fences=_without(self.fences, gone), lines=lines)

    def served(self, tenant: str) -> Pool:
        turn = self.turn + 1
        return replace(
            self, holding=self.holding.set(tenant, self.holding.get(tenant, 0) + 1), turns=self.turns.set(tenant, turn), turn=turn
        )

    def released(self, tenant: str) -> Pool:
        left = self.holding.get(tenant, 0) - 1
        return replace(self, holding=self.holding.set(tenant, left) if left > 0 else self.holding.delete(tenant))


def _without(items: tuple[Item, ...], gone: frozenset[Item]) -> tuple[Item, ...]:
    # the head is what leaves nearly always
    if items and len(gone) == 1 and items[0] in gone:
        return items[1:]
    return tuple(item for item in items if item not in gone)
