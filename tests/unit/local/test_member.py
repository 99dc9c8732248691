"""A process of the stack as its supervisor sees it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from barecount_local.member import REFUSED_PAUSE, Member


class Ended:
    """A process that has ended with this status."""

    pid = 1

    def __init__(self, status: int) -> None:
        self.exit_code = status

    def alive(self) -> bool:
        return False

    def end(self, ask: signal.Signals, seconds: float) -> None: ...

    def kill(self) -> None: ...


@pytest.mark.unit
def test_a_service_that_refuses_is_told_from_one_that_died_and_its_reason_from_its_other_lines(tmp_path: Path) -> None:
    log = tmp_path / "command.log"
    log.write_text('{"event": "Traceback"}\nrefused: the read model comes from another log\n')
    found = {}
    for status in (4, 1):
        member = Member("command", lambda status=status: Ended(status), lambda: False, address="a:1", log=log)  # type: ignore[misc]
        member.start()
        assert member.look()
        found[status] = member.row()
        assert member.again_at is not None, "whoever repairs it does not have to start it"
    assert found[4]["refused"] is True
    assert found[4]["last_error"].endswith("command refuses to start")
    assert found[4]["last_lines"] == ["the read model comes from another log"]
    assert found[1]["refused"] is False
    assert "ended with status 1" in found[1]["last_error"]
    assert REFUSED_PAUSE < 10, "the repair is noticed soon"
