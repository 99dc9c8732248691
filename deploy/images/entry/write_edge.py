"""Writes the edge image's Caddyfile and documents into a folder: the embedded stack's own routes, with services by their names."""

import sys
from pathlib import Path

from barecount_local.documents import place
from barecount_local.routes import ROUTES, caddyfile

PORT = 8400
SERVICE_PORT = 8000
DOCUMENTS = Path("/srv/documents")


def main(folder: Path) -> None:
    place(folder / "documents")
    # Caddy fills in {$NAME:default} when it starts: BARECOUNT_UPSTREAM_COMMAND=10.0.0.7:8000, BARECOUNT_EDGE_HOST=api.example.org
    upstreams = {
        name: f"{{$BARECOUNT_UPSTREAM_{name.upper()}:{name}:{SERVICE_PORT}}}" for name in sorted({route.service for route in ROUTES})
    }
    hosts = ("127.0.0.1", "localhost", "{$BARECOUNT_EDGE_HOST:edge}")
    (folder / "Caddyfile").write_text(caddyfile(PORT, upstreams, DOCUMENTS, bind="0.0.0.0", hosts=hosts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
