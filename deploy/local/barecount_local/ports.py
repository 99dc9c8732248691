"""Free ports, and who holds one that is not free."""

from __future__ import annotations

import socket

from .errors import PortTaken

HOST = "127.0.0.1"


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
    """Different ports that nobody listens on. All are held until the last is found, so that none comes twice."""
    held = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


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
