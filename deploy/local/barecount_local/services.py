"""Which service processes a stack has, what each is told by its environment, and what the parent loads before it forks them."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from .passwords import DATABASES, Passwords
from .ports import HOST
from .settings import StackSettings


@dataclass(frozen=True)
class ServiceProcess:
    """name: of the process, principal: who it is to Kafka and to its keys; its code is barecount_<principal>.app:main."""

    name: str
    principal: str

    @property
    def module(self) -> str:
        return f"barecount_{self.principal}.app"

    @property
    def has_database(self) -> bool:
        return self.principal in DATABASES


SERVICES = (
    ServiceProcess("command", "command"),
    ServiceProcess("execution", "execution"),
    ServiceProcess("lineage", "lineage"),
    ServiceProcess("evidence", "evidence"),
    ServiceProcess("webhooks", "webhooks"),
    ServiceProcess("streams", "streams"),
    ServiceProcess("worker-1", "worker"),
    ServiceProcess("worker-2", "worker"),
)

# shared by all forked services; never duckdb, deltalake, pyarrow or confluent_kafka: they start threads
PRELOADED = (
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "pydantic",
    "pydantic_settings",
    "aiokafka",
    "asyncpg",
    "faststream",
    "faststream.kafka",
    "barecount_contracts",
    "barecount_manifest",
    "barecount_transparency",
    "barecount_eventlog",
    "barecount_readmodel",
    "barecount_chassis",
)
FORBIDDEN = ("duckdb", "deltalake", "confluent_kafka")


def preload() -> None:
    """Loads what all services use, once, and keeps the collector from touching it (which would unshare its pages).

    Raises RuntimeError when something that was loaded started a thread: a fork would copy its locks, but not the thread.
    """
    for name in PRELOADED:
        importlib.import_module(name)
    loaded = [name for name in FORBIDDEN if name in sys.modules]
    if loaded or threading.active_count() != 1:
        raise RuntimeError(f"not safe to fork: {loaded or 'modules'} loaded, threads {[thread.name for thread in threading.enumerate()]}")
    gc.collect()
    gc.freeze()


def environment(service: ServiceProcess, settings: StackSettings, ports: dict[str, int], passwords: Passwords) -> dict[str, str]:
    """What the process is told, on top of the stack's own environment."""
    told = {
        "BARECOUNT_SERVICE": service.principal,
        "BARECOUNT_INSTANCE": service.name,
        "BARECOUNT_DATA_DIR": str(settings.data_dir),
        "BARECOUNT_HTTP_HOST": HOST,
        "BARECOUNT_HTTP_PORT": str(ports[service.name]),
        "BARECOUNT_PUBLIC_URL": settings.url,
        "BARECOUNT_KEYS_DIR": str(settings.data_dir / "keys"),
        "BARECOUNT_LAKE_DIR": str(settings.data_dir / "lake"),
        "BARECOUNT_KAFKA_BOOTSTRAP": settings.kafka or f"{HOST}:{ports['kafka']}",
        "BARECOUNT_WEBHOOK_PRIVATE_TARGETS": settings.webhook_private_targets,
    }
    if settings.kafka is None:
        told |= {"BARECOUNT_KAFKA_USERNAME": service.principal, "BARECOUNT_KAFKA_PASSWORD": passwords.kafka[service.principal]}
    elif settings.kafka_username is not None:
        told |= {"BARECOUNT_KAFKA_USERNAME": settings.kafka_username, "BARECOUNT_KAFKA_PASSWORD": settings.kafka_password or ""}
    if service.has_database:
        told["BARECOUNT_DATABASE_URL"] = database_url(service.principal, settings, ports, passwords)
    if service.principal == "worker":
        told["BARECOUNT_WORKER_ID"] = service.name
    return told


def database_url(role: str, settings: StackSettings, ports: dict[str, int], passwords: Passwords) -> str:
    """The address of a service's own database as its login role, on the embedded server or on the one that DATABASE_URL names."""
    login = f"{role}:{quote(passwords.postgres[role], safe='')}"
    if settings.database is None:
        return f"postgresql://{login}@{HOST}:{ports['postgres']}/{role}"
    given = urlsplit(settings.database)
    place = given.netloc.rpartition("@")[2]
    return urlunsplit((given.scheme, f"{login}@{place}", f"/{role}", given.query, ""))


def entry(service: ServiceProcess) -> Callable[[], None]:
    """The service's main, loaded in the forked process."""
    main: Callable[[], None] = importlib.import_module(service.module).main
    return main
