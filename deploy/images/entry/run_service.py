"""Entry of the barecount image. The first word says what the container is; its own secrets come from $BARECOUNT_SECRETS_DIR/environment.

command | execution | lineage | evidence | webhooks | streams | worker    a service, until SIGTERM
init            makes the installation's keys and passwords, and gives every container only its own
provision       topics, permissions, users and databases; repeating it changes nothing
cli <verb> …    the barecount command
health          whether the service in this container is ready
"""

import os
import sys
import urllib.error
import urllib.request
from importlib import import_module
from pathlib import Path


def take_secrets() -> None:
    """The lines NAME=value of the file; what the container was told by its environment wins."""
    file = Path(os.environ.get("BARECOUNT_SECRETS_DIR", "/secrets")) / "environment"
    if file.exists():
        for line in file.read_text().splitlines():
            name, _, value = line.partition("=")
            os.environ.setdefault(name, value)


def health() -> None:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{os.environ['BARECOUNT_HTTP_PORT']}/health/ready", timeout=4)
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"not ready: {error}")


def main() -> None:
    what, *rest = sys.argv[1:] or ["help"]
    match what:
        case "health":
            health()
        case "init":
            import_module("make_secrets").main()
        case "provision":
            import_module("provision").main()
        case "cli":
            take_secrets()
            sys.argv = ["barecount", *rest]
            import_module("barecount_local.main").main()
        case "help" | "-h" | "--help":
            sys.stdout.write(__doc__ or "")
        case service:
            take_secrets()
            os.environ.setdefault("BARECOUNT_SERVICE", service)
            try:
                module = import_module(f"barecount_{service}.app")
            except ModuleNotFoundError as missing:
                if missing.name not in (f"barecount_{service}", f"barecount_{service}.app"):
                    raise
                sys.exit(f"{service} is no service of this image.\n{__doc__}")
            module.main()


if __name__ == "__main__":
    main()
