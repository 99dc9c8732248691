"""Tiles: the specification's own examples, every size's tiles rebuilt from the published ones, and paths with one spelling."""

import pytest
from barecount_transparency import (
    MAX_ENTRY,
    Tile,
    TileError,
    Tree,
    decode_bundle,
    encode_bundle,
    leaf_hash,
    partial_tiles,
    tile_content,
    tiles_at,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree(leaf_hash(i.to_bytes(4, "big")) for i in range(70_000))


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x001/x234",
        "tile/0/001/234",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/data/000",
        "tile/8/0/000",
        "tile/0/../000",
        "tile/0/٠٠٠",
        "tile/0/000.p/1.p/1",
        "tile/0/" + "x999/" * 20 + "999",
        "",
    ],
)
def test_a_path_that_is_not_the_one_spelling_is_refused(path: str) -> None:
    with pytest.raises(TileError):
        Tile.parse(path)


def test_a_tile_that_the_published_size_does_not_cover_is_refused(tree: Tree) -> None:
    for tile in (Tile(0, 273, 113), Tile(0, 273), Tile(1, 1, 18), Tile(2, 0, 2), Tile(3, 0, 1)):
        with pytest.raises(TileError, match="does not exist"):
            tile_content(tree, tile, 70_000)
    with pytest.raises(TileError, match="does not exist"):
        tile_content(tree, Tile(0, 0, 101), 100)
    with pytest.raises(TileError, match="does not exist"):
        tile_content(tree, Tile(0, 0), 70_001)
    with pytest.raises(TileError, match="ledger"):
        tile_content(tree, Tile(0, 0, entries=True), 70_000)


def test_a_tile_that_cannot_be_is_refused() -> None:
    for level, index, width in ((-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 0, 0), (0, 0, 257)):
        with pytest.raises(TileError):
            Tile(level, index, width)
    with pytest.raises(TileError):
        Tile(1, 0, entries=True)
    with pytest.raises(TileError):
        list(tiles_at(5, since=6))
    with pytest.raises(TileError):
        partial_tiles(-1)


@pytest.mark.parametrize("bundle", [b"", b"\x00", b"\x00\x02a", b"\x00\x01ab", b"\x00\x00" * 257])
def test_a_broken_bundle_is_refused(bundle: bytes) -> None:
    with pytest.raises(TileError):
        decode_bundle(bundle)


def test_a_bundle_of_the_wrong_width_or_with_a_huge_entry_is_refused() -> None:
    with pytest.raises(TileError, match="2 entries, not 3"):
        decode_bundle(encode_bundle([b"a", b"b"]), width=3)
    with pytest.raises(TileError, match="record a digest"):
        encode_bundle([bytes(MAX_ENTRY + 1)])
    for entries in ([], [b""] * 257):
        with pytest.raises(TileError, match="1 to 256"):
            encode_bundle(entries)


def test_the_specifications_example_paths() -> None:
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(0, 273, 112).path == "tile/0/273.p/112"
    assert Tile(0, 1000, 5, entries=True).path == "tile/entries/x001/000.p/5"
    assert Tile.parse("tile/entries/x001/x234/067") == Tile(0, 1234067, entries=True)


@given(st.integers(0, 7), st.integers(0, 2**62), st.integers(1, 256))
def test_every_path_is_read_back(level: int, index: int, width: int) -> None:
    for tile in (Tile(level, index, width), Tile(0, index, width, entries=True)):
        assert Tile.parse(tile.path) == tile


def test_the_specifications_example_of_70000_leaves(tree: Tree) -> None:
    assert [t.path for t in partial_tiles(70_000)] == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    served = [t for t in tiles_at(70_000) if not t.entries]
    assert sum(1 for t in served if t.level == 0 and t.width == 256) == 273
    assert sum(1 for t in served if t.level == 1 and t.width == 256) == 1
    assert [t for t in served if t.width < 256] == partial_tiles(70_000)
    assert len(tile_content(tree, Tile(0, 272), 70_000)) == 8192


@pytest.mark.parametrize(
    ("size", "paths"),
    [
        (0, []),
        (1, ["tile/0/000.p/1"]),
        (255, ["tile/0/000.p/255"]),
        (256, ["tile/1/000.p/1"]),
        (257, ["tile/0/001.p/1", "tile/1/000.p/1"]),
        (512, ["tile/1/000.p/2"]),
        (65_536, ["tile/2/000.p/1"]),
        (65_537, ["tile/0/256.p/1", "tile/2/000.p/1"]),
    ],
)
def test_a_full_tile_leaves_a_partial_one_a_level_up_and_no_empty_one(size: int, paths: list[str]) -> None:
    assert [t.path for t in partial_tiles(size)] == paths


def test_every_hash_of_a_tile_is_the_root_of_its_subtree(tree: Tree) -> None:
    for tile in partial_tiles(70_000):
        content = tile_content(tree, tile, 70_000)
        span = 256**tile.level
        first = tile.index * 256
        for at in range(tile.width):
            leaves = [tree.leaf(i) for i in range((first + at) * span, (first + at + 1) * span)]
            assert content[at * 32 : at * 32 + 32] == Tree(leaves).root


def test_the_root_is_rebuilt_from_level_0_tiles_alone(tree: Tree) -> None:
    for size in (1, 255, 256, 257, 1000, 65_536):
        rebuilt = Tree()
        for tile in tiles_at(size):
            if tile.level == 0 and not tile.entries:
                content = tile_content(tree, tile, size)
                rebuilt.extend(content[i : i + 32] for i in range(0, len(content), 32))
        assert (rebuilt.size, rebuilt.root) == (size, tree.root_at(size))


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_publishing_only_what_is_new_publishes_every_tile_of_every_size(steps: list[int]) -> None:
    published: set[Tile] = set()
    size = 0
    for step in steps:
        published.update(tiles_at(size + step, since=size))
        size += step
        assert set(tiles_at(size)) <= published


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries
