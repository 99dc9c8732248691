"""Many ids, each with what is kept of its first time: an immutable map from 16 bytes to a few more.

There may be a million of them. A persistent map takes some 220 bytes for each; here only the newest stand in one, and whenever these are
many they are sealed into a block: the entries side by side, sorted, with an index of 16-bit numbers by hash. What a snapshot brings is one
sorted stretch, searched as it is: nothing has to be built before the first question. Neither has anything in it for the garbage collector
to walk.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from immutables import Map

KEY: Final = 16
# of a value, unless said otherwise
VALUE: Final = 32
# entries of a block: half of the index stays empty, and building one takes some 20 ms
SEALED: Final = 32_768
_SLOTS: Final = 65_536
_EMPTY: Final = 0xFFFF
_NONE: Final[Map[bytes, bytes]] = Map()


@dataclass(frozen=True, slots=True)
class _Block:
    entries: bytes
    width: int
    index: array[int] = field(repr=False)

    @classmethod
    def of(cls, entries: bytes, width: int) -> _Block:
        """entries: at most SEALED of them, sorted; width: bytes of one."""
        index = array("H", [_EMPTY]) * _SLOTS
        for number in range(len(entries) // width):
            at = number * width
            # Python's hash is keyed by process: nobody can choose ids that collide
            slot = hash(entries[at : at + KEY]) & 0xFFFF
            while index[slot] != _EMPTY:
                slot = (slot + 1) & 0xFFFF
            index[slot] = number
        return cls(entries, width, index)

    def get(self, key: bytes) -> bytes | None:
        slot = hash(key) & 0xFFFF
        while (number := self.index[slot]) != _EMPTY:
            at = number * self.width
            if self.entries[at : at + KEY] == key:
                return self.entries[at + KEY : at + self.width]
            slot = (slot + 1) & 0xFFFF
        return None


class Ids:
    """An id is added once; were it added again, its first time stands. value: bytes of every value.

    No dataclass: one is made for every event that is restored, and a frozen one takes three times as long.
    """

    __slots__ = ("_fresh", "_loaded", "_sealed", "value")

    def __init__(
        self, value: int = VALUE, _loaded: bytes = b"", _sealed: tuple[_Block, ...] = (), _fresh: Map[bytes, bytes] = _NONE
    ) -> None:
        self.value, self._loaded, self._sealed, self._fresh = value, _loaded, _sealed, _fresh

    @property
    def entry(self) -> int:
        """Bytes of one entry in `dump`."""
        return KEY + self.value

    def __len__(self) -> int:
        return (len(self._loaded) + sum(len(block.entries) for block in self._sealed)) // self.entry + len(self._fresh)

    def __eq__(self, other: object) -> bool:
        """By content: when it was sealed makes no difference."""
        return isinstance(other, Ids) and self.value == other.value and self.dump() == other.dump()

    __hash__ = None  # type: ignore[assignment]

    def get(self, key: bytes) -> bytes | None:
        if self._loaded and (found := self._among_loaded(key)) is not None:
            return found
        for block in self._sealed:
            found = block.get(key)
            if found is not None:
                return found
        return self._fresh.get(key)

    def add(self, key: bytes, value: bytes) -> Ids:
        held = self._fresh
        if key in held:
            return self
        # not looked for in the blocks: who adds has asked before, and were it there twice the older one is found
        fresh = held.set(key, value)
        if len(fresh) < SEALED:
            return Ids(self.value, self._loaded, self._sealed, fresh)
        block = _Block.of(_sorted(key + value for key, value in fresh.items()), self.entry)
        return Ids(self.value, self._loaded, (*self._sealed, block))

    def dump(self) -> bytes:
        """Every entry, sorted: equal ids give equal bytes."""
        if not self._sealed and not self._fresh:
            return self._loaded
        return _sorted(self._entries())

    @classmethod
    def load(cls, entries: bytes, value: int = VALUE) -> Ids:
        """entries: as `dump` gave them."""
        return cls(value, entries)

    def _entries(self) -> Iterator[bytes]:
        for stretch in (self._loaded, *(block.entries for block in self._sealed)):
            for at in range(0, len(stretch), self.entry):
                yield stretch[at : at + self.entry]
        for key, value in self._fresh.items():
            yield key + value

    def _among_loaded(self, key: bytes) -> bytes | None:
        entries, width = self._loaded, self.entry
        number = bisect_left(range(len(entries) // width), key, key=lambda one: entries[one * width : one * width + KEY])
        at = number * width
        return entries[at + KEY : at + width] if entries[at : at + KEY] == key else None


def _sorted(entries: Iterable[bytes]) -> bytes:
    return b"".join(sorted(entries))
