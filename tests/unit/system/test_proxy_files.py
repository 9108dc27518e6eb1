"""The engine's proxies in the consoles."""

import subprocess

from orlop.system.config.configuration import Configuration
from orlop.system.config.files import READERS
from orlop.system.network import proxy_files
from orlop.wire.compose_model import Json


def configured(**engine: Json) -> Configuration:
    return Configuration({"orlop": {"engine": engine}})


def test_no_proxy_no_file() -> None:
    assert proxy_files.files(configured(no_proxy=["a.example"])) == []


def test_what_a_shell_makes_of_it() -> None:
    https = "http://me:it's@proxy.example:3128"
    files = proxy_files.files(
        configured(http_proxy="p:80", https_proxy=https, no_proxy=[".example", "localhost"])
    )
    assert [file.service for file in files] == [*READERS]
    script = files[0].data.decode() + 'echo "$HTTP_PROXY $https_proxy $NO_PROXY"'
    done = subprocess.run(["sh", "-c", script], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == f"http://p:80 {https} .example,localhost,127.0.0.1,::1\n"


def test_directories_of_programs() -> None:
    configuration = Configuration({"orlop": {"environment": {"path": "/opt/bin, /opt/it's,"}}})
    files = proxy_files.files(configuration)
    assert [file.path for file in files] == [proxy_files.PATHS] * len(READERS)
    script = files[0].data.decode() + 'echo "$PATH"'
    done = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": "/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "/bin:/opt/bin:/opt/it's\n"
