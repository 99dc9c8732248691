"""What the service offers, made without any server: its addresses and the permission of each."""

from __future__ import annotations

from barecount_chassis import Settings, openapi, route_permissions
from barecount_evidence.app import build


def test_every_route_asks_for_its_permission_and_nothing_is_connected_to_say_so() -> None:
    app = build(Settings(service="evidence", kafka_bootstrap="nowhere:1"))
    offered = {route: action for route, action in route_permissions(app).items() if action is not None}
    assert offered == dict.fromkeys(ROUTES, "evidence:read")
    assert set(openapi(app)["paths"]) == {route.split(" ", 1)[1].replace(":path}", "}") for route in ROUTES}


ROUTES = (
    "GET /evidence",
    "GET /evidence/records/{index}",
    "GET /evidence/proof",
    "GET /evidence/consistency",
    "GET /evidence/chain",
    "GET /evidence/coverage",
    "GET /evidence/key",
    "GET /checkpoint",
    "GET /tile/{path:path}",
)
