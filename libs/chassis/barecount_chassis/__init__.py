"""The frame of a service: settings, identity, permission, problems, telemetry, health, ASGI."""
