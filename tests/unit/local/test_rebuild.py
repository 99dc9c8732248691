"""`barecount rebuild --all` means all: a service that is left out keeps rows of another log, and nobody asks for it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from barecount_local import rebuild as module
from barecount_local.settings import StackSettings

SERVICES = Path(__file__).resolve().parents[3] / "services"


def test_all_are_the_services_that_have_a_rebuild_of_their_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def reports(name: str, told: dict[str, str], options: tuple[str, ...], log: Path) -> Iterator[dict[str, Any]]:
        asked.append((name, tuple(options)))
        yield {"service": name, "step": "done", "events": 1, "seconds": 1.0, "rate": 1}

    monkeypatch.setattr(module, "_reports", reports)
    monkeypatch.setattr(module, "environment", lambda *told: {})
    monkeypatch.setattr(module, "Passwords", SimpleNamespace(of=lambda folder: None))
    monkeypatch.setattr(module.record, "read", lambda path: {"ports": {}})
    monkeypatch.setattr(module.record, "supervisor_lives", lambda found: True)
    ended = module.rebuild(StackSettings(data_dir=tmp_path), [], ["--accept-loss"], quiet=True)
    having = sorted(path.parent.name.removeprefix("barecount_") for path in SERVICES.glob("*/barecount_*/rebuild.py"))
    assert len(having) >= 5
    assert sorted(asked) == [(name, ("--accept-loss",)) for name in having]
    assert sorted(said["service"] for said in ended) == having
