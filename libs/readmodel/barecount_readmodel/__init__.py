"""PostgreSQL: exactly-once projector, consistency tokens."""
