"""Admits every command: pipelines, contracts, requests, decisions, refusals."""
