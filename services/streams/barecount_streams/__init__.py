"""Publishes state changes as CloudEvents, and serves them live: SSE, WebSocket, the dashboard."""
