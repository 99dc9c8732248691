"""Many ids, each with what is kept of its first time: an immutable map from 16 bytes to a few more.

There may be a million of them. A persistent map takes some 220 bytes for each, and three microseconds; here the newest stand in a list that
only grows, of which every value sees as many as there were when it was made. Whenever these are many they are sealed into a block: the
entries side by side, sorted, with an index of 16-bit numbers by hash. What a snapshot brings is one sorted stretch, searched as it is:
nothing has to be built before the first question. Neither has anything in it for the garbage collector to walk.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

KEY: Final = 16
# of a value, unless said otherwise
VALUE: Final = 32
# entries of a block: half of the index stays empty, and building one takes some 20 ms
SEALED: Final = 32_768
_SLOTS: Final = 65_536
_EMPTY: Final = 0xFFFF


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


class _Fresh:
    """Entries in the order in which they came, and where each one is. Shared by the values that grew out of each other: it only grows."""

    __slots__ = ("entries", "index")

    def __init__(self, entries: list[bytes]) -> None:
        self.entries = entries
        self.index = {entry[:KEY]: number for number, entry in enumerate(entries)}


class Ids:
    """An id is added once; were it added again, its first time stands. value: bytes of every value.

    No dataclass: one is made for every event that is restored, and a frozen one takes three times as long.
    """

    __slots__ = ("_count", "_fresh", "_loaded", "_sealed", "value")

    def __init__(
        self,
        value: int = VALUE,
        _loaded: bytes = b"",
        _sealed: tuple[_Block, ...] = (),
        _fresh: _Fresh | None = None,
        _count: int = 0,
    ) -> None:
        self.value, self._loaded, self._sealed = value, _loaded, _sealed
        self._fresh, self._count = _fresh or _Fresh([]), _count

    @property
    def entry(self) -> int:
        """Bytes of one entry in `dump`."""
        return KEY + self.value

    def __len__(self) -> int:
        return (len(self._loaded) + sum(len(block.entries) for block in self._sealed)) // self.entry + self._count

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
        number = self._fresh.index.get(key)
        # what was added after this value was made is not in it
        return self._fresh.entries[number][KEY:] if number is not None and number < self._count else None

    def add(self, key: bytes, value: bytes) -> Ids:
        fresh, count = self._fresh, self._count
        if len(fresh.entries) != count:
            # another value grew out of this one: each goes on by itself
            fresh = _Fresh(fresh.entries[:count])
        # not looked for in the blocks: who adds has asked before, and were it there twice the older one is found
        if fresh.index.setdefault(key, count) != count:
            return self
        fresh.entries.append(key + value)
        if count + 1 < SEALED:
            return Ids(self.value, self._loaded, self._sealed, fresh, count + 1)
        return Ids(self.value, self._loaded, (*self._sealed, _Block.of(_sorted(fresh.entries), self.entry)))

    def add_all(self, pairs: Sequence[tuple[bytes, bytes]]) -> Ids:
        """As `add` of one after the other, without a value for each. pairs: of id and value."""
        if self._count + len(pairs) >= SEALED:
            ids = self
            for key, value in pairs:
                ids = ids.add(key, value)
            return ids
        fresh = self._fresh
        if len(fresh.entries) != self._count:
            fresh = _Fresh(fresh.entries[: self._count])
        entries, index = fresh.entries, fresh.index
        for key, value in pairs:
            count = len(entries)
            if index.setdefault(key, count) == count:
                entries.append(key + value)
        return Ids(self.value, self._loaded, self._sealed, fresh, len(entries))

    def dump(self) -> bytes:
        """Every entry, sorted: equal ids give equal bytes."""
        if not self._sealed and not self._count:
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
        # a copy: a snapshot is written in a thread, while the owner goes on adding
        yield from self._fresh.entries[: self._count]

    def _among_loaded(self, key: bytes) -> bytes | None:
        entries, width = self._loaded, self.entry
        number = bisect_left(range(len(entries) // width), key, key=lambda one: entries[one * width : one * width + KEY])
        at = number * width
        return entries[at + KEY : at + width] if entries[at : at + KEY] == key else None


def _sorted(entries: Iterable[bytes]) -> bytes:
    return b"".join(sorted(entries))
