"""The dashboard's files: HTML, CSS and ES modules as they stand in assets/, no build step. They hold no data, so they need no token.

Everything that they show comes from the same public API that everybody uses, with the token of whoever looks.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from barecount_chassis import Problem
from barecount_contracts.rules import permissions
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

ASSETS: Final = Path(__file__).parent / "assets"
BASE: Final = "/ui/"
# nothing from elsewhere, nothing inline: markup in a name can at worst be ugly
POLICY: Final = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # asked for each time and answered by 304: a new release is seen at once, also by modules that others import
    "Cache-Control": "no-cache",
}
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}


@dataclass(frozen=True)
class Asset:
    """One file as it is answered."""

    body: bytes
    media_type: str
    etag: str


def assets() -> dict[str, Asset]:
    """Every file by its path below BASE, read once: what is not in here does not exist, so no path can lead outside."""
    found = {str(path.relative_to(ASSETS)): path.read_bytes() for path in sorted(ASSETS.rglob("*")) if path.suffix in TYPES}
    # which buttons a role sees; the services decide by the same table
    matrix = {role: sorted(actions) for role, actions in permissions().roles.items() if role != "service"}
    found["permissions.json"] = json.dumps(matrix, sort_keys=True).encode()
    made = {name: _asset(name, body) for name, body in found.items()}
    return made | {"": made["index.html"]}


def routes() -> APIRouter:
    """GET /ui/…, and / which leads there."""
    router, held = APIRouter(include_in_schema=False), assets()

    @router.get("/")
    @router.get("/ui")
    async def start() -> RedirectResponse:
        return RedirectResponse(BASE, status_code=307)

    @router.get(BASE + "{path:path}")
    async def asset(path: str, request: Request) -> Response:
        found = held.get(path)
        if found is None:
            raise Problem("not-found", f"the dashboard has no file {path}")
        headers = {**HEADERS, "ETag": found.etag}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.body, media_type=found.media_type, headers=headers)

    return router


def _asset(name: str, body: bytes) -> Asset:
    return Asset(body, TYPES[Path(name).suffix], f'"{hashlib.sha256(body).hexdigest()[:20]}"')
