"""Kafka: one fenced writer a partition, restore, read, publish."""
