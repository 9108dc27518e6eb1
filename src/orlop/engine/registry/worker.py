"""The registry worker: `worker registry`, the job on descriptor 0, the staging directory on 3.

The only place of Orlop that speaks TLS, and that reads what registries say. It starts as root,
reads the job, certificates and keys, opens what a push sends; then it goes into its staging
directory for good, gives up every privilege but the network, and only then opens a connection.
What it reports was verified here. `pulling`, `pushing` and `asking` say what it answers.
"""

from __future__ import annotations

# Loaded by others when they need it, which is when the worker cannot load anything any more.
import email.utils  # noqa: F401
import encodings.idna  # noqa: F401
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from orlop.engine.registry import asking, files
from orlop.engine.registry.channel import Channel
from orlop.engine.registry.http import Pool
from orlop.engine.registry.job import Job, parse_job
from orlop.engine.registry.layers import Downloads
from orlop.engine.registry.pulling import Pull
from orlop.engine.registry.pushing import Push, Uploads, open_images
from orlop.engine.registry.session import Session
from orlop.engine.registry.tls import Contexts
from orlop.engine.sandbox import Limits, drop_privileges
from orlop.engine.store import compression
from orlop.engine.worker_process import report_error
from orlop.lib.errors import Internal, OrlopError, ResourceExhausted, Unauthorized
from orlop.wire.registry.auth_config import AuthConfig
from orlop.wire.registry.endpoints import (
    Endpoint,
    InsecureRegistries,
    check_mirror,
    endpoint_hosts,
    host_only,
    parse_insecure,
    plan_endpoints,
)
from orlop.wire.registry.errors import RefusedByRegistry, translate_pull_error
from orlop.wire.registry.manifest import MAX_LAYERS

if TYPE_CHECKING:
    from collections.abc import Callable

DIRECTORY = 3
LIMITS = Limits(memory_bytes=2 << 30, cpu_s=6 * 3600, open_files=2 * MAX_LAYERS + 100)

NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf")
"""What the C library reads to resolve a name; copied to where the worker sees them."""

MAX_NETWORK_FILE_BYTES = 4 << 20

PARALLEL_UPLOADS = 5
"""As dockerd."""


def main(argv: list[str]) -> int:
    """One job."""
    del argv
    channel = Channel()
    try:
        job = parse_job(channel.receive())
        result = _Worker(job, channel).run()
        channel.send({"result": result})
    except MemoryError:
        report_error(ResourceExhausted("the registry's answers take too much memory"))
    except OrlopError as error:
        report_error(error)
    except OSError as error:
        report_error(ResourceExhausted(error.strerror or str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a registry brought about has to be told
        report_error(Internal(f"a registry worker failed: {error!r}"))
    sys.stdout.flush()
    # Threads may wait for a registry that has all the time.
    os._exit(0)


class _Worker:
    def __init__(self, job: Job, channel: Channel) -> None:
        self._job = job
        self._channel = channel
        self._mirrors = [check_mirror(mirror) for mirror in job.registries.mirrors]
        self._insecure = parse_insecure(job.registries.insecure)
        hosts = endpoint_hosts(job.reference.domain, self._mirrors)
        self._contexts = Contexts(job.registries, hosts)
        self._downloads = Downloads(channel, job.max_layer_bytes)
        self._uploads = Uploads(channel, PARALLEL_UPLOADS)
        self._images = open_images(job)
        compression.load_codecs()
        copy_network_files()
        drop_privileges(DIRECTORY, LIMITS, start_threads=self._start_threads, network=True)

    def _start_threads(self) -> None:
        if self._job.action == "pull":
            self._downloads.start()
        elif self._job.action == "push":
            self._uploads.start()

    def run(self) -> dict[str, Any]:
        job = self._job
        match job.action:
            case "pull":
                return self._try(["pull"], self._pull, with_mirrors=True)
            case "push":
                return self._try(["push", "pull"], self._push, with_mirrors=False)
            case "login":
                return self._try([], asking.login, with_mirrors=False)
            case "distribution":
                return self._try(["pull"], lambda session: asking.inspect(session, job), True)
            case "artifact":
                return self._try(["pull"], lambda session: files.artifact(session, job), True)
            case "fetch":
                insecure = is_insecure(job.reference.domain, self._insecure)
                return files.fetch(Pool(self._contexts, insecure=insecure), job)
            case "search" if job.reference.domain:
                return self._try([], lambda session: asking.search_registry(session, job), False)
            case "search":
                return asking.search_index(Pool(self._contexts, insecure=False), job)
        raise OrlopError(f"no action {job.action}")

    def _pull(self, session: Session) -> dict[str, Any]:
        session.ping()
        return Pull(self._job, self._channel, session, self._downloads).run()

    def _push(self, session: Session) -> dict[str, Any]:
        session.ping()
        return Push(self._channel, session, self._images, self._uploads).run()

    def _try(
        self, actions: list[str], act: Callable[[Session], dict[str, Any]], with_mirrors: bool
    ) -> dict[str, Any]:
        """Do it at the first endpoint that can; what the last one said is the error.

        A registry that has answered over TLS is never asked without.
        """
        secure: set[str] = set()
        last: OrlopError = OrlopError(f"no endpoints found for {self._job.reference.familiar}")
        for endpoint in self._endpoints(with_mirrors):
            if endpoint.url.startswith("http://") and endpoint.host in secure:
                continue
            path = self._job.reference.path if actions else ""
            session = Session(endpoint, self._contexts, self._auth(endpoint), path, actions)
            try:
                return act(session)
            except OrlopError as error:
                last = error
                if session.connected and endpoint.url.startswith("https://"):
                    secure.add(endpoint.host)
                if not goes_on(error, endpoint):
                    break
        raise translate_pull_error(last, self._job.reference) if "pull" in actions[:1] else last

    def _auth(self, endpoint: Endpoint) -> AuthConfig:
        """The client's credentials, or else those that were configured for the registry."""
        known = self._job.registries.find(endpoint.host)
        if self._job.auth != AuthConfig() or known is None:
            return self._job.auth
        return AuthConfig(username=known.username, password=known.password)

    def _endpoints(self, with_mirrors: bool) -> list[Endpoint]:
        domain = self._job.reference.domain
        hosts = endpoint_hosts(domain, self._mirrors)
        insecure = frozenset(host for host in hosts if is_insecure(host, self._insecure))
        return plan_endpoints(domain, self._mirrors, insecure, with_mirrors=with_mirrors)


def goes_on(error: OrlopError, endpoint: Endpoint) -> bool:
    """Whether the next endpoint may do better, as dockerd decides."""
    if isinstance(error, RefusedByRegistry):
        return endpoint.mirror
    return not isinstance(error, Unauthorized)


def is_insecure(host: str, insecure: InsecureRegistries) -> bool:
    """Whether *host* may be talked to without checked certificates."""
    if insecure.matches_host(host):
        return True
    name = host_only(host)
    if name == "localhost":
        return insecure.matches_address(["127.0.0.1", "::1"])
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return insecure.matches_address([str(item[4][0]) for item in found])


def copy_network_files() -> None:
    """Into the staging directory, which will be the root directory."""
    try:
        os.mkdir("etc", 0o755, dir_fd=DIRECTORY)
    except FileExistsError:
        return
    for path in NETWORK_FILES:
        name = path.removeprefix("/")
        try:
            with open(path, "rb") as source:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                target = os.open(name, flags, 0o644, dir_fd=DIRECTORY)
                with os.fdopen(target, "wb") as copy:
                    copy.write(source.read(MAX_NETWORK_FILE_BYTES))
        except OSError:
            continue
