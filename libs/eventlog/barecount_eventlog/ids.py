"""The command ids of one stretch of time, each with what is kept of its first time: an immutable map from 16 bytes to 32.

There may be a million of them. A persistent map takes some 220 bytes for each; here only the newest stand in one, and whenever these are
many they are sealed into a block: the entries side by side, sorted, with an index of 16-bit numbers by hash. That takes 52 bytes for each,
and nothing in it for the garbage collector to walk.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from immutables import Map

KEY: Final = 16
VALUE: Final = 32
ENTRY: Final = KEY + VALUE
# entries of a block: half of the index stays empty, and building one takes some 20 ms
SEALED: Final = 32_768
_SLOTS: Final = 65_536
_EMPTY: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class _Block:
    entries: bytes
    index: array[int] = field(repr=False)

    @classmethod
    def of(cls, entries: bytes) -> _Block:
        """entries: at most SEALED of them, sorted."""
        index = array("H", [_EMPTY]) * _SLOTS
        for number in range(len(entries) // ENTRY):
            at = number * ENTRY
            # Python's hash is keyed by process: nobody can choose ids that collide
            slot = hash(entries[at : at + KEY]) & 0xFFFF
            while index[slot] != _EMPTY:
                slot = (slot + 1) & 0xFFFF
            index[slot] = number
        return cls(entries, index)

    def get(self, key: bytes) -> bytes | None:
        slot = hash(key) & 0xFFFF
        while (number := self.index[slot]) != _EMPTY:
            at = number * ENTRY
            if self.entries[at : at + KEY] == key:
                return self.entries[at + KEY : at + ENTRY]
            slot = (slot + 1) & 0xFFFF
        return None


@dataclass(frozen=True, slots=True)
class Ids:
    """An id is added once; were it added again, its first time stands."""

    _sealed: tuple[_Block, ...] = ()
    _fresh: Map[bytes, bytes] = field(default_factory=Map)

    def __len__(self) -> int:
        return sum(len(block.entries) for block in self._sealed) // ENTRY + len(self._fresh)

    def __eq__(self, other: object) -> bool:
        """By content: when it was sealed makes no difference."""
        return isinstance(other, Ids) and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]

    def get(self, key: bytes) -> bytes | None:
        for block in self._sealed:
            found = block.get(key)
            if found is not None:
                return found
        return self._fresh.get(key)

    def add(self, key: bytes, value: bytes) -> Ids:
        if key in self._fresh:
            return self
        # not looked for in the blocks: who adds has asked before, and were it there twice the older one is found
        fresh = self._fresh.set(key, value)
        if len(fresh) < SEALED:
            return Ids(self._sealed, fresh)
        return Ids((*self._sealed, _Block.of(_sorted(key + value for key, value in fresh.items()))))

    def dump(self) -> bytes:
        """Every entry, sorted: equal ids give equal bytes."""
        held = [block.entries[at : at + ENTRY] for block in self._sealed for at in range(0, len(block.entries), ENTRY)]
        held += [key + value for key, value in self._fresh.items()]
        return _sorted(held)

    @classmethod
    def load(cls, entries: bytes) -> Ids:
        size = SEALED * ENTRY
        whole = len(entries) - len(entries) % size
        rest = entries[whole:]
        return cls(
            tuple(_Block.of(entries[at : at + size]) for at in range(0, whole, size)),
            Map({rest[at : at + KEY]: rest[at + KEY : at + ENTRY] for at in range(0, len(rest), ENTRY)}),
        )


def _sorted(entries: Iterable[bytes]) -> bytes:
    return b"".join(sorted(entries))
