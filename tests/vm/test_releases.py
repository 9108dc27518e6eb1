"""An installed machine takes a release from a web server, and nothing that is not signed."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orlop.cli import host_release
from orlop.image.disk import DiskImage, make_disk
from orlop.lib import medium
from orlop.lib.disk_layout import plan_disk
from orlop.lib.process import run
from orlop.vm.spec import Firmware
from tests.vm.next_image import make_next
from tests.vm.test_disk_image import SIZE_BYTES, Installation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.vm.lab import Lab

TIMEOUT_S = 300
BUILD = "feedfacefeedface"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is there
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """*folder* on a web server, by the address that a guest has for it."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://10.0.2.2:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_release_from_a_web_server(lab: Lab, tmp_path: Path) -> None:
    keys, repository = tmp_path / "keys", tmp_path / "repository"
    host_release.main(["new-keys", str(keys)])
    places = ["--key", str(keys), "--out", str(repository), "--channel", "stable"]
    image = make_next(lab.out / "orlop.efi", BUILD, tmp_path / "next")
    host_release.main([*places, "--image", str(image), "--version", "9.0", "--no-delta"])
    path = tmp_path / "disk.raw"
    wanted = DiskImage(lab.out / "orlop.iso", SIZE_BYTES)
    make_disk(wanted, path, tmp_path, lambda words, env: run(words, env=env), epoch=1_700_000_000)
    source = medium.read_source(str(wanted.iso))
    disk = Installation(path, tmp_path, plan_disk(SIZE_BYTES), source)
    with served(repository) as address, disk.machine(lab, Firmware.BIOS) as machine:
        machine.boot()
        assert "trusts nobody" in machine.fail(f"orlop os check {address} 2>&1")
        root = base64.b64encode((keys / "root.json").read_bytes()).decode()
        machine.succeed(f"echo {root} | base64 -d | orlop os trust -")
        found = json.loads(machine.succeed(f"orlop os check --json {address}", timeout_s=TIMEOUT_S))
        assert (found["version"], found["build"]) == ("9.0", BUILD)
        timestamp = repository / "metadata/timestamp.json"
        good = timestamp.read_bytes()
        timestamp.write_bytes(good.replace(b'"version": 1', b'"version": 2'))
        assert machine.execute(f"orlop os stage {address}")[0] == 75
        timestamp.write_bytes(good)
        staged = json.loads(
            machine.succeed(f"orlop os stage --json {address}", timeout_s=TIMEOUT_S)
        )
        assert staged["version"] == "9.0"
        assert staged["received_bytes"] == found["download_bytes"]
        assert machine.execute(f"orlop os stage {address}")[0] == 77
        status = json.loads(machine.succeed("orlop os status --json"))
        assert status["staged"] == staged["generation"]
        assert all(row["ok"] for row in json.loads(machine.succeed("orlop os verify --json")))
