"""Delivers state changes to the endpoints of tenants: signed, retried, recorded."""
