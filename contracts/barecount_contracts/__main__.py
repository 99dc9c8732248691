"""`python -m barecount_contracts publish`: writes the schema of each new type; a published file is never touched."""

from __future__ import annotations

import sys
from pathlib import Path

from .schema import schema_text, schemas

FOLDER = Path(__file__).resolve().parent.parent / "schemas"


def main() -> int:
    if sys.argv[1:] != ["publish"]:
        sys.stderr.write("usage: python -m barecount_contracts publish\n")
        return 64
    FOLDER.mkdir(exist_ok=True)
    changed = []
    for name, schema in schemas().items():
        file, text = FOLDER / f"{name}.json", schema_text(schema)
        if not file.exists():
            file.write_text(text)
            sys.stdout.write(f"published {name}\n")
        elif file.read_text() != text:
            changed.append(name)
    for name in changed:
        sys.stderr.write(f"{name} is published and differs from its class: keep the class, or add the next version with an upcaster\n")
    return 1 if changed else 0


if __name__ == "__main__":
    raise SystemExit(main())
