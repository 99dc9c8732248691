"""Free ports, and who holds one that is not free."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

from .errors import PortTaken

HOST = "127.0.0.1"
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST = 10_000
MOST_REFUSED = 1_000


def is_free(port: int) -> bool:
    """Whether this process could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # as servers do it: a port in TIME_WAIT is free
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on. All are held until the last is found, so that none comes twice.

    They lie below those that the kernel gives to outgoing connections: there, any connection of anybody takes a port between the look and
    the listening, and a client that knocks on a dead server's port can be given that very port and connect to itself.
    """
    held: list[socket.socket] = []
    refused = 0
    try:
        while len(held) < count:
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(one)
            try:
                one.bind((HOST, _somewhere()))
            except OSError:
                held.pop().close()
                refused += 1
                if refused > MOST_REFUSED:
                    raise
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def _somewhere() -> int:
    """A random port below the outgoing ones; 0, the kernel's own choice, where there are none."""
    try:
        first = int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768
    return secrets.choice(range(LOWEST, first)) if first > LOWEST + 1_000 else 0


def choose(names: list[str], before: dict[str, int]) -> dict[str, int]:
    """A port a name: the one it had before when that is still free, else a new one."""
    kept = {name: before[name] for name in names if name in before and is_free(before[name])}
    missing = [name for name in names if name not in kept]
    return kept | dict(zip(missing, free_ports(len(missing)), strict=True))


def accepts(port: int) -> bool:
    """Whether somebody accepts a connection on the port."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def holder(port: int) -> str:
    """Who listens on the port, as far as this user may know: `nginx (pid 12)`, or `another process`."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr[1] == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, PermissionError):
        pass
    return "another process"


def demand(port: int, setting: str) -> int:
    """The port itself when it is free. Raises PortTaken, which names its holder and the setting to change."""
    if not is_free(port):
        raise PortTaken(f"port {port} is taken by {holder(port)}: stop that, or choose another with {setting}=<port>")
    return port
