"""Reads contracts/problems.yaml and contracts/permissions.yaml: what can go wrong, and who may do what."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from .message import Part


class ProblemType(Part):
    """One row of problems.yaml."""

    code: str
    status: int
    title: str
    remedy: str


class CommandRule(Part):
    """What a command type needs: an action of its principal, asserted by one of these services."""

    action: str
    issuers: tuple[str, ...]


class Permissions(Part):
    roles: dict[str, frozenset[str]]
    actions: dict[str, str]
    commands: dict[str, CommandRule]

    def allowed(self, role: str, action: str) -> bool:
        return action in self.roles.get(role, frozenset())


@cache
def problem_types() -> dict[str, ProblemType]:
    return {code: ProblemType(code=code, **row) for code, row in _read("problems.yaml").items()}


def problem_type(code: str) -> ProblemType:
    """Raises: KeyError when problems.yaml has no such row; add one before using a new code."""
    return problem_types()[code]


@cache
def permissions() -> Permissions:
    return Permissions.model_validate(_read("permissions.yaml"))


def allowed(role: str, action: str) -> bool:
    """Whether permissions.yaml gives this role the action."""
    return permissions().allowed(role, action)


def command_rule(command_type: str) -> CommandRule | None:
    return permissions().commands.get(command_type)


def _read(name: str) -> dict[str, Any]:
    loaded = yaml.safe_load((files("barecount_contracts") / name).read_text())
    if not isinstance(loaded, dict):
        raise ValueError(f"{name} is not a mapping")
    return loaded
