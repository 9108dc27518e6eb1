"""A metadata service: answers as a file says, and writes down what it was asked.

`metadata_server.py PAGES LOG ADDRESS...` listens on port 80 of each ADDRESS. PAGES is JSON:
`{"METHOD /path": {"body": "...", "headers": {...}, "status": 200}}`, where *headers* are those that
a request must have, or else it gets 401.
"""

import base64
import json
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGES: dict[str, Any] = {}
LOG: Path


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode()
        with LOG.open("a") as log:
            log.write(json.dumps([self.command, self.path, body]) + "\n")
        page = PAGES.get(f"{self.command} {self.path}")
        if page is None:
            self.send_error(404)
            return
        wanted = page.get("headers", {})
        if any(self.headers.get(name) != value for name, value in wanted.items()):
            self.send_error(401)
            return
        content = base64.b64decode(page["base64"]) if "base64" in page else page["body"].encode()
        self.send_response(page.get("status", 200))
        if "location" in page:
            self.send_header("Location", page["location"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = answer  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self, address: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 80), Handler)


def main(pages: str, log: str, *addresses: str) -> None:
    global LOG
    LOG = Path(log)
    PAGES.update(json.loads(Path(pages).read_text()))
    servers = [Server(address) for address in addresses]
    LOG.touch()
    for server in servers:
        threading.Thread(target=server.serve_forever).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
