"""`init`: the keys and passwords of one installation, made once, and a folder for each container with its own ones only.

/secrets/provision is the origin (every password and key, its backup is worth the installation); the other folders under /secrets are
the volumes of kafka, postgres, the services and the cli. Repeating it adds what a newer version needs and copies again.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

from barecount_local.keys import make_keys
from barecount_local.passwords import DATABASES, PRINCIPALS, Passwords, write_private

ROOT = Path(os.environ.get("BARECOUNT_SECRETS_DIR", "/secrets"))
SERVICES = tuple(name for name in PRINCIPALS if name not in ("admin", "publisher"))
# what a service reads beside its own key and everybody's public keys
ALSO = {"evidence": ("ledger.private.pem",), "webhooks": ("webhooks.master",), "cli": ("issuer.private.pem",)}


def main() -> None:
    origin = ROOT / "provision"
    passwords = Passwords.of(origin)
    make_keys(origin / "keys")
    # the principals that provision makes later need no place here
    give(ROOT / "kafka", {"passwords.json": json.dumps({"kafka": {"admin": passwords.kafka["admin"]}}).encode()})
    give(ROOT / "postgres", {"passwords.json": json.dumps({"postgres": {"postgres": passwords.postgres["postgres"]}}).encode()})
    for name in SERVICES:
        told = {"BARECOUNT_KAFKA_USERNAME": name, "BARECOUNT_KAFKA_PASSWORD": passwords.kafka[name]}
        if name in DATABASES:
            place = os.environ.get("BARECOUNT_POSTGRES_ADDRESS", "postgres:5432")
            told["BARECOUNT_DATABASE_URL"] = f"postgresql://{name}:{quote(passwords.postgres[name], safe='')}@{place}/{name}"
        own = {f"{name}.pem": (origin / "keys" / f"{name}.private.pem").read_bytes()}
        if name != "worker":
            own["token.secret"] = (origin / "keys" / "token.secret").read_bytes()
        give(ROOT / name, {"environment": lines(told)}, own)
    give(
        ROOT / "cli",
        {"environment": lines({"BARECOUNT_KAFKA_USERNAME": "publisher", "BARECOUNT_KAFKA_PASSWORD": passwords.kafka["publisher"]})},
        {},
    )
    sys.stdout.write(f"secrets for {len(list(ROOT.iterdir()))} containers\n")


def give(folder: Path, files: dict[str, bytes], keys: dict[str, bytes] | None = None) -> None:
    """Writes the files into a container's folder; with `keys`, also keys/ with these, everybody's public keys and what ALSO names."""
    for name, content in files.items():
        write_private(folder / name, content)
    if keys is None:
        return
    (folder / "keys").mkdir(exist_ok=True)
    origin = ROOT / "provision" / "keys"
    for public in origin.glob("*.public.pem"):
        shutil.copyfile(public, folder / "keys" / public.name)
    also = {name: (origin / name).read_bytes() for name in ALSO.get(folder.name, ()) if (origin / name).exists()}
    for name, content in {**keys, **also}.items():
        write_private(folder / "keys" / name, content)


def lines(told: dict[str, str]) -> bytes:
    return "".join(f"{name}={value}\n" for name, value in told.items()).encode()


if __name__ == "__main__":
    main()
