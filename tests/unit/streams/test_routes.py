"""What the service offers, without Kafka."""

from __future__ import annotations

from barecount_chassis import Settings, openapi, route_permissions
from barecount_streams.app import build


def test_the_stream_and_the_socket_ask_for_the_same_permission_and_pages_for_none() -> None:
    app = build(Settings(service="streams", kafka_bootstrap="nowhere:1"))
    found = route_permissions(app)
    assert (found["GET /stream"], found["GET /ws"]) == ("stream:read", "stream:read")
    assert app.state.pages == ("/", "/ui", "/ui/")
    answer = openapi(app)["paths"]["/stream"]["get"]["responses"]["200"]
    assert "text/event-stream" in answer["content"]
