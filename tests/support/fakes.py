"""Stand-ins for the services' code, for tests of the supervisor alone: packages that answer /health/ready and do as they are told.

A folder of them goes before everything else on PYTHONPATH, so that `barecount_command.app:main` is the stand-in's.
"""

from __future__ import annotations

from pathlib import Path

SERVICES = ("command", "execution", "worker", "lineage", "evidence", "webhooks", "streams")

APP = """\
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/crash":
            print("about to crash on request", flush=True)
            os._exit(7)
        told = {name: value for name, value in os.environ.items() if name.startswith("BARECOUNT_")}
        body = json.dumps({"path": self.path, "pid": os.getpid(), "told": told, "checks": {"reader": {"lag": 3}}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer((os.environ["BARECOUNT_HTTP_HOST"], int(os.environ["BARECOUNT_HTTP_PORT"])), Answer)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("serving as", os.environ["BARECOUNT_SERVICE"], flush=True)
    server.serve_forever()
"""


def write(folder: Path) -> Path:
    """Writes the packages and returns the folder for PYTHONPATH."""
    for service in SERVICES:
        package = folder / f"barecount_{service}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "app.py").write_text(APP)
    return folder
