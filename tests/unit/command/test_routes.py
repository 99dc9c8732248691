"""Every route of the service asks for the permission that SERVICES agreed, and the document of the API can be made offline."""

from __future__ import annotations

from barecount_chassis import Settings, openapi, route_permissions
from barecount_command.app import build

AGREED = {
    "POST /contracts": "contracts:write",
    "GET /contracts": "contracts:read",
    "GET /contracts/{name}": "contracts:read",
    "GET /contracts/{name}/{version}": "contracts:read",
    "GET /subjects": "contracts:read",
    "GET /subjects/{subject}/versions": "contracts:read",
    "GET /subjects/{subject}/versions/{version}": "contracts:read",
    "POST /subjects/{subject}/versions": "contracts:write",
    "POST /subjects/{subject}": "contracts:read",
    "GET /schemas/types": "contracts:read",
    "GET /schemas/ids/{schema_id}": "contracts:read",
    "GET /schemas/ids/{schema_id}/versions": "contracts:read",
    "POST /compatibility/subjects/{subject}/versions/{version}": "contracts:read",
    "GET /config": "contracts:read",
    "POST /pipelines": "pipelines:write",
    "GET /pipelines": "pipelines:read",
    "GET /pipelines/{name}": "pipelines:read",
    "GET /pipelines/{name}/history": "pipelines:read",
    "PUT /pipelines/{name}": "pipelines:write",
    "DELETE /pipelines/{name}": "pipelines:delete",
    "POST /pipelines/{name}/promote": "pipelines:promote",
    "POST /pipelines/{name}/runs": "runs:start",
    "POST /runs/{run_id}/cancel": "runs:cancel",
    "POST /pipelines/replay": "runs:replay",
    "GET /governance/approvals": "decisions:read",
    "GET /governance/approvals/{request_id}": "decisions:read",
    "POST /governance/decisions": "decisions:write",
    "GET /publishers": "publishers:read",
    "POST /publishers": "publishers:write",
    "DELETE /publishers/{name}": "publishers:write",
    "GET /webhooks": "webhooks:read",
    "POST /webhooks": "webhooks:write",
    "GET /webhooks/{endpoint_id}": "webhooks:read",
    "PUT /webhooks/{endpoint_id}": "webhooks:write",
    "DELETE /webhooks/{endpoint_id}": "webhooks:write",
    "POST /webhooks/{endpoint_id}/rotate": "webhooks:write",
    "POST /webhooks/{endpoint_id}/redeliver": "webhooks:write",
    "GET /commands/{command_id}": "commands:read",
}


def test_every_route_asks_for_the_agreed_permission() -> None:
    app = build(Settings(service="command", kafka_bootstrap="nowhere:1"))
    found = {route: action for route, action in route_permissions(app).items() if action is not None}
    assert found == AGREED


def test_every_route_is_documented_in_words() -> None:
    document = openapi(build(Settings(service="command", kafka_bootstrap="nowhere:1")))
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), f"{method.upper()} {path} has no docstring"
