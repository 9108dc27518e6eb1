"""Services that the machine's user adds: brought in, enabled, changed, and taken away again.

A file of services is checked by a worker, its images are fetched, and it is put into
/var/lib/orlop/services, where the configuration worker finds it at each boot. Whether a service is
started at the boot is a key of the configuration, `orlop.services.NAME.enabled`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file, errors
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, NotModified, OrlopError
from orlop.system.config import configuration
from orlop.system.config.configuration import as_list, as_map
from orlop.system.config.control import Manner
from orlop.system.consoles import image_of
from orlop.system.services.catalogue import Catalogue
from orlop.system.services.services import ServiceState
from orlop.wire.compose import parse_service
from orlop.wire.compose_model import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.system.boot import Boot
    from orlop.system.services.images import ServiceImages
    from orlop.wire.compose_model import Json, ServiceDefinition

log = logging.getLogger(__name__)

DIRECTORY = Path("/var/lib/orlop/services")
RETRY_DELAYS_S = (2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""While the network is not there yet; the last one repeats."""

_DIGEST = r"sha256:[0-9a-f]{64}"
_NAME_IN_REFERENCE = r"([a-z0-9][a-z0-9_.-]{0,62})(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$"


@dataclass(slots=True)
class Source:
    """A file of services: its *text*, what it is called in errors, and where it is from.

    *archives* are what a catalogue has for its images: reference to URL and digest.
    """

    name: str
    text: str
    origin: str
    archives: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Checked:
    services: Mapping[str, ServiceDefinition]
    places: Mapping[str, str]
    notices: Sequence[str]
    profiles: frozenset[str]
    replaces: Sequence[str]


class AddedServices:
    """For the machine of *boot*. Changes come one after the other."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._lock = asyncio.Lock()
        self._completing = False
        self.images: ServiceImages = boot.images
        self.catalogue: Catalogue = Catalogue(boot, boot.images)

    async def add(self, request: Mapping[str, object]) -> dict[str, Json]:
        """Add the services of a file: `text` with its `name`, a `url`, a `reference` in a registry,
        or a name in the `catalogue`; `digest` is what it must have.

        With `enable` they are started, now and at each boot; with `start` now.

        Raises:
            InvalidArgument: something is wrong with it, with file, line and key.
            OrlopError: it, or an image of it, cannot be had. Nothing has changed then.
        """
        source = await self._find(request)
        enable, start = request.get("enable") is True, request.get("start") is True
        # Others do not wait for what this fetches; what they have done meanwhile counts.
        await self._prepare(source, enabling=enable or start)
        async with self._lock:
            path, checked = await self._prepare(source, enabling=enable or start)
            names = [*checked.services]
            wanted = [name for name in names if name not in checked.profiles]
            enabled = wanted if enable else []
            # First: a file whose services nothing is said of has them started at the next boot.
            await self._switch({name: False for name in names if name not in enabled})
            await self._keep(path, source, checked)
            await self._switch(dict.fromkeys(enabled, True))
            await self._boot.config.reload()
            if enable or start:
                await self._start(wanted)
            return {
                "services": [*names],
                "file": str(path),
                "origin": source.origin,
                "enabled": [*enabled],
                "images": {s.image: self.images.id_of(s.image) for s in checked.services.values()},
                "notices": [*checked.notices],
            }

    async def _prepare(self, source: Source, *, enabling: bool) -> tuple[Path, _Checked]:
        """Have all there that the services of *source* want; nothing has changed yet."""
        checked = await self._check(source, enabling=enabling)
        path = DIRECTORY / f"{next(iter(checked.services))}.yml"
        await asyncio.to_thread(_refuse_to_overwrite, path, checked.replaces)
        await self._fetch_images(source, checked)
        return path, checked

    async def _find(self, request: Mapping[str, object]) -> Source:
        digest = str(request.get("digest") or "")
        if digest and re.fullmatch(_DIGEST, digest) is None:
            raise InvalidArgument(f"digest: sha256: and 64 digits expected, not {digest[:80]!r}")
        if url := request.get("url"):
            return await self._find_url(str(url), digest)
        if reference := request.get("reference"):
            return await self._find_artifact(str(reference), digest)
        if name := request.get("catalogue"):
            place = str(request.get("from") or "")
            entry = await self.catalogue.find("services", str(name), place)
            return Source(f"{name}.yml", entry.text, entry.origin, entry.archives)
        text, name = request.get("text"), str(request.get("name") or "stdin")
        if not isinstance(text, str):
            raise InvalidArgument("text, url, reference or catalogue expected")
        return Source(name[:255], text, name)

    async def _find_url(self, url: str, digest: str) -> Source:
        url, at, given = url.partition("@sha256:")
        digest = f"sha256:{given}" if at else digest
        found = await self.images.file(url, digest)
        return Source(url, found.text, f"{url}@{found.digest}")

    async def _find_artifact(self, reference: str, digest: str) -> Source:
        if digest and "@" not in reference:
            reference = f"{reference}@{digest}"
        found = await self.images.artifact(reference)
        if not found.image:
            return Source(reference, found.text, f"{reference} {found.digest}")
        # An image by itself is a service that runs it.
        match = re.search(_NAME_IN_REFERENCE, reference)
        if match is None:
            raise InvalidArgument(f"{reference}: no name for a service can be made of it")
        text = json.dumps({"services": {match[1]: {"image": reference, "restart": "always"}}})
        return Source(reference, text, f"{reference} {found.digest}")

    async def _check(self, source: Source, *, enabling: bool) -> _Checked:
        services, current = self._boot.services, self._boot.config.current
        known = {name: services.definition(name) for name in services.names()}
        request: dict[str, Json] = {
            "name": source.name,
            "text": source.text,
            "services": {name: to_json(definition) for name, definition in known.items()},
            "files": dict(current.service_files),
            "enabled": [name for name in known if current.is_enabled(name)],
            "enabling": enabling,
            "environment": current.get("orlop.environment"),
        }
        answer = await configuration.ask_services(self._boot.children, request)
        found = as_map(answer.get("services"))
        parts = {name: as_map(entry) for name, entry in found.items()}
        brought = {n: parse_service(n, as_map(e.get("definition"))) for n, e in parts.items()}
        for name, service in brought.items():
            if service.schedule:
                from orlop.system.services.schedule import why_never

                if reason := why_never(service):
                    place = parts[name].get("schedule")
                    raise InvalidArgument(f"{place}service {name}: {reason}")
        return _Checked(
            brought,
            {name: str(entry.get("place")) for name, entry in parts.items()},
            [str(text) for text in as_list(answer.get("notices"))],
            frozenset(map(str, as_list(answer.get("profiles")))),
            [str(file) for file in as_list(answer.get("replaces"))],
        )

    async def _fetch_images(self, source: Source, checked: _Checked) -> None:
        for name, service in checked.services.items():
            image = service.image
            try:
                if image in source.archives and not self.images.is_there(image):
                    url, digest = source.archives[image]
                    await self.catalogue.load(url, image, digest)
                await self.images.provide(image)
            except OrlopError as error:
                kind = getattr(errors, type(error).__name__, OrlopError)
                text = f"{checked.places[name]}service {name}: image: {error}"
                raise kind(text, hint=error.hint) from error

    async def _keep(self, path: Path, source: Source, checked: _Checked) -> None:
        """Put the file where the next boot finds it, instead of those that it replaces."""
        note = f"# from {source.origin}\n".encode("ascii", "replace")
        text = source.text.encode()
        # At the end, so that lines have the numbers that their author knows.
        data = text if text.endswith(note) else text.rstrip(b"\n") + b"\n" + note
        before = [Path(file) for file in checked.replaces if Path(file) != path]

        def work() -> None:
            DIRECTORY.mkdir(mode=0o700, exist_ok=True)
            atomic_file.write_bytes(path, data, mode=0o600)
            for old in before:
                old.unlink(missing_ok=True)

        try:
            await asyncio.to_thread(work)
        except OSError as error:
            raise errors.Unavailable(f"cannot keep {path}: {error.strerror}") from error

    async def _switch(self, enabled: Mapping[str, bool]) -> None:
        """Write down which services are started at a boot."""
        current = self._boot.config.current
        changes: dict[str, Json] = {
            name: {"enabled": value}
            for name, value in enabled.items()
            if current.get(f"orlop.services.{name}.enabled") is not value
        }
        if changes:
            text = json.dumps({"orlop": {"services": changes}})
            operation = {"verb": "merge", "text": text, "name": "orlop service"}
            await self._boot.config.change(operation, Manner())

    async def follow(self, before: Mapping[str, ServiceDefinition]) -> None:
        """Other services are described now than *before*: let there be those."""
        boot, services = self._boot, self._boot.services
        for name in before.keys() - boot.config.current.services.keys():
            try:
                await services.remove(name)
            except NotFound:
                pass  # it has gone already
            except OrlopError as error:
                log.warning("cannot remove service %s: %s", name, error)
        boot.define_services()
        services.start_all()
        for name in boot.config.current.services:
            try:
                if name not in services.names() or not services.is_outdated(name):
                    continue
                if self.images.is_there(services.definition(name).image):
                    await services.restart(name)
                else:  # the way to the registry may be what this change is about
                    boot.tasks.start(self._restart_some_time(name), f"restart of {name}")
            except (OrlopError, OSError) as error:
                log.warning("cannot restart service %s: %s", name, error)
        await boot.firewall.follow()

    async def _restart_some_time(self, name: str) -> None:
        try:
            await self._boot.services.restart(name)
        except (OrlopError, OSError) as error:
            log.warning("cannot restart service %s: %s", name, error)

    async def _start(self, names: Sequence[str]) -> None:
        """Start *names* if they do not run, anew those that are not as they were described."""
        services = self._boot.services
        stopped = (ServiceState.STOPPED, ServiceState.DISABLED)
        services.bring_up(name for name in names if services.status(name).state in stopped)
        for name in names:
            if services.is_outdated(name):
                await services.restart(name)

    async def set_enabled(self, names: Sequence[str], enabled: bool) -> dict[str, Json]:
        """Start *names* now and at each boot; or neither.

        Raises:
            NotFound: there is no such service. InvalidArgument: they cannot be beside others.
            OrlopError: an image cannot be had.
        """
        services = self._boot.services
        for name in names if enabled else ():  # others do not wait for what this fetches
            await self.images.provide(services.definition(name).image)
        async with self._lock:
            current = self._boot.config.current
            files = {current.service_files.get(name, "") for name in names}
            for name in names:
                services.status(name)
            if enabled:
                for file in filter(None, files):
                    await self._check_again(file)
                for name in names:
                    await self.images.provide(services.definition(name).image)
            await self._switch(dict.fromkeys(names, enabled))
            if enabled:
                await self._start(names)
            else:
                for name in names:
                    await services.retire(name)
            return {"services": [*names], "enabled": enabled}

    async def _check_again(self, file: str) -> None:
        try:
            text = await asyncio.to_thread(Path(file).read_text)
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"{file}: cannot be read: {error}") from error
        await self._check(Source(file, text, file), enabling=True)

    async def remove(self, names: Sequence[str]) -> dict[str, Json]:
        """End *names* and forget them, with their files and images.

        Raises:
            NotFound: there is no such service. Conflict: it is the system's, or of the
            configuration, or its file has others.
        """
        async with self._lock:
            services, current = self._boot.services, self._boot.config.current
            for name in names:
                services.status(name)
                self._check_removable(name, names, current.service_files)
            files = {current.service_files[name] for name in names}
            images = {services.definition(name).image for name in names}
            for name in names:
                await services.remove(name)
            await asyncio.to_thread(_unlink, files)
            for name in names:
                await self._forget(name)
            await self._boot.config.reload()
            # By digest: one image may have several names.
            left = {self.images.id_of(services.definition(name).image) for name in services.names()}
            for chosen in (self._boot.chosen_console, self._boot.chosen_engine):
                left.add(self.images.id_of(image_of(self._boot, chosen.configured())))
            for image in images:
                found = self.images.id_of(image)
                if found not in left and not self.images.is_built_in(image):
                    await self.images.discard(found)
            return {"services": [*names], "files": [*sorted(files)]}

    def _check_removable(self, name: str, names: Sequence[str], files: Mapping[str, str]) -> None:
        file = files.get(name, "")
        if not file.startswith(f"{DIRECTORY}/"):
            if file:
                raise Conflict(
                    f"service {name} is in the configuration, {file}: orlop config unset "
                    f"orlop.services.{name} takes it away"
                )
            raise Conflict(
                f"service {name} is part of the system; orlop service disable {name} keeps it "
                "from running"
            )
        others = sorted(other for other, of in files.items() if of == file and other not in names)
        if others:
            raise Conflict(
                f"service {name} is in one file with {', '.join(others)}: "
                f"orlop service rm {' '.join((*names, *others))}"
            )

    async def _forget(self, name: str) -> None:
        operation = {"verb": "unset", "key": f"orlop.services.{name}.enabled"}
        try:
            await self._boot.config.change(operation, Manner())
        except NotFound:
            pass  # another source says it, or none

    async def pull(self, names: Sequence[str]) -> dict[str, Json]:
        """Fetch what the images of *names* are by now; those that run are started anew.

        Raises:
            NotFound: there is no such service. OrlopError: an image cannot be had.
        """
        services = self._boot.services
        images = {name: services.definition(name).image for name in names}
        changed = [
            image
            for image in dict.fromkeys(images.values())
            if not self.images.is_built_in(image) and await self.images.pull(image)
        ]
        async with self._lock:
            for name, image in images.items():
                if name not in services.names():
                    continue  # removed meanwhile
                if image in changed and services.status(name).state is ServiceState.RUNNING:
                    await services.restart(name)
            return {
                "services": [*names],
                "changed": [*changed],
                "images": {image: self.images.id_of(image) for image in images.values()},
            }

    async def complete(self) -> None:
        """Fetch from the catalogue what the configuration has enabled and nobody has added."""
        if self._completing:
            return  # it looks again after each
        self._completing = True
        try:
            await self._complete()
        finally:
            self._completing = False

    async def _complete(self) -> None:
        boot, delays_s = self._boot, iter(RETRY_DELAYS_S)
        while missing := self._missing():
            if not self.catalogue.place:
                for name in missing:
                    boot.machine.warn(
                        f"service {name} is enabled, and there is none: orlop service add"
                    )
                return
            for name in missing:
                try:
                    await self.add({"catalogue": name, "enable": True})
                except (InvalidArgument, NotFound) as error:
                    boot.machine.warn(f"service {name} cannot be added: {error}")
                    return
                except OrlopError as error:
                    log.warning("cannot add service %s: %s", name, error)
                    await asyncio.sleep(next(delays_s, RETRY_DELAYS_S[-1]))

    def _missing(self) -> list[str]:
        wanted = as_map(self._boot.config.current.get("orlop.services"))
        there = self._boot.services.names()
        return [n for n, e in wanted.items() if as_map(e).get("enabled") is True and n not in there]

    async def kill(self, name: str, signal: str) -> None:
        """Send *signal* to service *name*; its restart policy decides what follows.

        Raises:
            NotFound; NotModified: it does not run. InvalidArgument: there is no such signal.
        """
        self._boot.services.status(name)
        try:
            await self._boot.engine.kill_container(name, signal or "SIGKILL", last=False)
        except (NotFound, Conflict) as error:
            raise NotModified(f"service {name} does not run") from error


def _refuse_to_overwrite(path: Path, replaced: Sequence[str]) -> None:
    """A file that somebody has put there by hand may have any name.

    Raises:
        Conflict: *path* is there, and has other services, or is broken.
    """
    if str(path) not in replaced and os.path.lexists(path):
        raise Conflict(f"{path} is there already, with something else in it: give it another name")


def _unlink(files: set[str]) -> None:
    for file in files:
        Path(file).unlink(missing_ok=True)
    if files:
        atomic_file.sync_directory(DIRECTORY)
