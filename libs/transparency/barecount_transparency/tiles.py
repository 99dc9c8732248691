"""The tree cut into tiles of 256 hashes, and entries into bundles, as C2SP tlog-tiles v0.1.0 serves them.

`tile/<L>/<N>[.p/<W>]` holds W hashes of complete subtrees of 256^L leaves from position 256·N;
`tile/entries/<N>[.p/<W>]` holds the entries of the level 0 tile of the same number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .errors import TileError
from .tree import Tree

__all__ = [
    "MAX_ENTRY",
    "TILE_WIDTH",
    "Tile",
    "decode_bundle",
    "encode_bundle",
    "partial_tiles",
    "tile_content",
    "tiles_at",
]

TILE_WIDTH = 256
MAX_ENTRY = 65_535
"""Bytes: the bundle's length prefix has 16 bits."""

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_TREE_BITS = 63


@dataclass(frozen=True, order=True)
class Tile:
    """One tile: level 0 to 63 (0 for entries), index within the level, width 1 to 256 (256 = full). Raises `TileError`."""

    level: int
    index: int
    width: int = TILE_WIDTH
    entries: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 63 or (self.entries and self.level):
            raise TileError(f"level {self.level} is not within 0 and 63 (entries: 0)")
        if not 0 <= self.index < 1 << _TREE_BITS:
            raise TileError(f"tile index {self.index} is out of range")
        if not 1 <= self.width <= TILE_WIDTH:
            raise TileError(f"width {self.width} is not within 1 and {TILE_WIDTH}: an empty tile does not exist")

    @property
    def path(self) -> str:
        """Below the log's prefix, without a leading slash."""
        digits = str(self.index)
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{'entries' if self.entries else self.level}/{number}{partial}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Read a path in its one spelling: no `x000` in front, no leading zeros, no `.p/256`. Raises `TileError`."""
        match = _PATH.fullmatch(path) if len(path) <= 80 else None
        if match is None:
            raise TileError(f"{path[:80]!r} is not a tile path: tile/<level>/<x001/x234/067>[.p/<width>] or tile/entries/…")
        level, number, width = match.groups()
        entries = level == "entries"
        index = int(number.replace("x", "").replace("/", ""))
        tile = cls(0 if entries else int(level), index, int(width) if width else TILE_WIDTH, entries)
        if tile.path != path:
            raise TileError(f"{path!r} is not how this tile is written: ask for {tile.path}")
        return tile

    def covered_by(self, size: int) -> bool:
        """Whether a tree of `size` leaves has all hashes of this tile."""
        return self.index * TILE_WIDTH + self.width <= size >> 8 * self.level


def partial_tiles(size: int) -> list[Tile]:
    """The hash tiles of a tree of `size` leaves that are not full, at most one a level: width floor(size/256^L) mod 256, never 0."""
    found = []
    for level in range(_levels(size)):
        hashes = size >> 8 * level
        if hashes % TILE_WIDTH:
            found.append(Tile(level, hashes // TILE_WIDTH, hashes % TILE_WIDTH))
    return found


def tiles_at(size: int, since: int = 0) -> Iterator[Tile]:
    """Every tile and bundle that a checkpoint of `size` leaves needs and one of `since` leaves did not have: bundles, then levels upwards.

    Published together with the checkpoint; those of `since` stay valid. Raises `TileError` for a `since` above `size`.
    """
    if not 0 <= since <= size:
        raise TileError(f"a log does not go from {since} leaves to {size}")
    for level in range(_levels(size)):
        before, after = since >> 8 * level, size >> 8 * level
        if before == after:
            continue
        for entries in (True, False) if level == 0 else (False,):
            for index in range(before // TILE_WIDTH, after // TILE_WIDTH):
                yield Tile(level, index, TILE_WIDTH, entries)
            if after % TILE_WIDTH:
                yield Tile(level, after // TILE_WIDTH, after % TILE_WIDTH, entries)


def tile_content(tree: Tree, tile: Tile, size: int) -> bytes:
    """The tile's `32·width` bytes, if the published `size` covers it. Raises `TileError` when it does not, or for a bundle."""
    if tile.entries:
        raise TileError(f"{tile.path} is a bundle: its bytes come from the ledger, not from the tree")
    if size > tree.size or not tile.covered_by(size):
        raise TileError(f"{tile.path} does not exist in a log of {min(size, tree.size)} leaves: fetch the checkpoint first")
    return tree.nodes(8 * tile.level, tile.index * TILE_WIDTH, tile.width)


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """1 to 256 entries, each behind its length as u16 big endian. Raises `TileError`."""
    parts: list[bytes] = []
    for entry in entries:
        if len(entry) > MAX_ENTRY:
            raise TileError(f"an entry of {len(entry)} bytes is larger than {MAX_ENTRY}: record a digest of its body instead")
        parts += (len(entry).to_bytes(2, "big"), entry)
    if not 2 <= len(parts) <= 2 * TILE_WIDTH:
        raise TileError(f"a bundle holds 1 to {TILE_WIDTH} entries, not {len(parts) // 2}")
    return b"".join(parts)


def decode_bundle(data: bytes, width: int | None = None) -> list[bytes]:
    """The entries of a bundle; with `width` exactly so many. Raises `TileError`."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        start = at + 2
        end = start + int.from_bytes(data[at:start], "big")
        if end > len(data):
            raise TileError(f"the bundle ends inside entry {len(entries)}: fetch it again")
        entries.append(data[start:end])
        at = end
    if not 1 <= len(entries) <= TILE_WIDTH or (width is not None and len(entries) != width):
        raise TileError(f"the bundle holds {len(entries)} entries, not {width if width is not None else f'1 to {TILE_WIDTH}'}")
    return entries


def _levels(size: int) -> int:
    if not 0 <= size < 1 << _TREE_BITS:
        raise TileError(f"size {size} is not within 0 and 2^63-1")
    return -(-size.bit_length() // 8)
