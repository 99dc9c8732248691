"""The embedded stack: Kafka, PostgreSQL, Caddy and every service on one machine."""
