"""Ports for servers: none that an outgoing connection can take between the look and the listening."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from barecount_local import ports


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    first = int(ports.EPHEMERAL.read_text().split()[0])
    found = ports.free_ports(20)
    assert len(set(found)) == 20
    assert all(ports.LOWEST <= port < first for port in found)


def test_a_port_that_somebody_listens_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((ports.HOST, 0)) as taken:
        mine = taken.getsockname()[1]
        (other,) = ports.free_ports(1)
        asked = iter([mine, mine, other])
        monkeypatch.setattr(ports, "_somewhere", lambda: next(asked))
        assert ports.free_ports(1) == [other]


def test_where_no_range_is_left_the_kernel_chooses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    everything = tmp_path / "range"
    everything.write_text("1024\t65535\n")
    monkeypatch.setattr(ports, "EPHEMERAL", everything)
    assert all(port >= 1024 for port in ports.free_ports(3))
