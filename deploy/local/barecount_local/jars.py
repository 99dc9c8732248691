"""The jars of Kafka: fetched once by jgo, compared with the committed lock by SHA-256 before every start.

`python -m barecount_local.jars` writes the lock anew after a change of its endpoints (a person's decision, read the diff).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from .errors import DownloadRefused, JarMismatch

LOCK = Path(__file__).with_name("kafka.lock.toml")


@dataclass(frozen=True)
class Jar:
    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def cache_folder() -> Path:
    """Where downloads stay between stacks: BARECOUNT_CACHE_DIR, or the user's cache folder."""
    chosen = os.environ.get("BARECOUNT_CACHE_DIR")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "barecount"


def locked(lock: Path = LOCK) -> tuple[list[str], list[Jar]]:
    """The Maven endpoints that the lock was made from, and every jar they resolve to."""
    content = tomllib.loads(lock.read_text())
    return content["endpoints"], [Jar(**row) for row in content["jar"]]


def classpath(cache: Path | None = None, lock: Path = LOCK) -> list[Path]:
    """Every jar of the lock, on this machine, with the bytes that the lock names.

    Raises DownloadRefused when one is missing and cannot be fetched, JarMismatch when one has other bytes.
    """
    folder = (cache or cache_folder()) / "jars"
    endpoints, jars = locked(lock)
    if any(not (folder / jar.file_name).exists() for jar in jars):
        _fetch(endpoints, jars, folder)
    for jar in jars:
        _compare(jar, folder / jar.file_name, lock)
    return [folder / jar.file_name for jar in jars]


def _compare(jar: Jar, path: Path, lock: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != jar.sha256:
        raise JarMismatch(
            f"{jar.group}:{jar.artifact}:{jar.version} has SHA-256 {found}, but {lock.name} names {jar.sha256}.\n"
            f"Nothing was started. Delete {path} (and the same file under ~/.m2/repository, where jgo keeps what it fetched) "
            "and start again;\n"
            "if it comes back like this, the registry or the way to it serves other bytes than were reviewed: do not go on."
        )


def _fetch(endpoints: list[str], jars: list[Jar], folder: Path) -> None:
    # a child, because jgo and its HTTP stack would stay in the supervisor's memory for ever
    asked = subprocess.run(
        [sys.executable, "-m", "barecount_local.jars", "--fetch", *endpoints], capture_output=True, text=True, check=False
    )
    if asked.returncode != 0:
        reason = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DownloadRefused(
            f"cannot fetch Kafka ({endpoints[0]}): {reason}\n"
            "Check the way to Maven Central (a proxy: HTTPS_PROXY; a mirror: jgo's settings), or copy the jars named in "
            f"{LOCK.name} into {folder} by hand, or use a Kafka that already runs (KAFKA_BOOTSTRAP_SERVERS)."
        )
    fetched = {Path(path).name: Path(path) for path in json.loads(asked.stdout.splitlines()[-1])}
    folder.mkdir(parents=True, exist_ok=True)
    for jar in jars:
        if (folder / jar.file_name).exists():
            continue
        source = fetched.get(jar.file_name)
        if source is None:
            raise DownloadRefused(
                f"{endpoints[0]} resolves without {jar.group}:{jar.artifact}:{jar.version}, which {LOCK.name} names: write the lock anew"
            )
        fresh = folder / f".{jar.file_name}.{os.getpid()}"
        shutil.copyfile(source, fresh)
        fresh.replace(folder / jar.file_name)


def _resolve(endpoints: list[str]) -> list[tuple[Jar, Path]]:
    """Each endpoint by itself, the first to bring an artifact wins: resolved together, the managed versions of one POM would
    bend the others (log4j's pulls kafka-clients down to 3.8)."""
    import jgo

    found: dict[tuple[str, str], tuple[Jar, Path]] = {}
    for endpoint in endpoints:
        environment = jgo.build(endpoint)
        paths = {path.name: path for path in environment.all_jars}
        for row in tomllib.loads(Path(environment.lock_path).read_text())["dependencies"]:
            jar = Jar(row["groupId"], row["artifactId"], row["version"], row["sha256"])
            found.setdefault((jar.group, jar.artifact), (jar, paths[jar.file_name]))
    return [found[key] for key in sorted(found)]


def write_lock(lock: Path = LOCK) -> None:
    """Resolves the lock's endpoint anew and writes what came, with the digests of the bytes that came."""
    head, endpoints = lock.read_text().split("[[jar]]")[0], locked(lock)[0]
    rows = [
        f'[[jar]]\ngroup = "{jar.group}"\nartifact = "{jar.artifact}"\nversion = "{jar.version}"\nsha256 = "{jar.sha256}"\n'
        for jar, _ in _resolve(endpoints)
    ]
    lock.write_text(head + "\n".join(rows))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fetch"]:
        print(json.dumps([str(path) for _, path in _resolve(sys.argv[2:])]))
    else:
        write_lock()
