"""Links under /dev with an owner: made, handed on to the next claimant, removed.

Two disks may carry the same label. Whoever claimed a name first has it; when that device goes, the
next one gets it. The claims live in memory; after a restart they are made again from what is there,
and `forget_strangers` removes what a former life left behind.
"""

import os
from collections.abc import Iterable

DIRECTORIES = ("disk", "mapper", "virtio-ports")
"""Directories under /dev in which only this service makes links."""


class Links:
    """The links below *root* (`/dev`) and the devices that claim them."""

    def __init__(self, root: str = "/dev") -> None:
        self._root = root
        self._claims: dict[str, list[str]] = {}

    def set(self, device: str, names: Iterable[str]) -> None:
        """From now on *device* (a path below /dev) claims exactly *names*.

        Raises:
            OSError: a link cannot be made; the claims are recorded all the same.
        """
        wanted = set(names)
        for name in [name for name, owners in self._claims.items() if device in owners]:
            if name not in wanted:
                self._withdraw(name, device)
        for name in sorted(wanted):
            owners = self._claims.setdefault(name, [])
            if device not in owners:
                owners.append(device)
            self._apply(name)

    def remove(self, device: str) -> None:
        """The device is gone: all its names go to the next claimant or away."""
        self.set(device, ())

    def claimed_by(self, device: str) -> list[str]:
        return sorted(name for name, owners in self._claims.items() if device in owners)

    def forget_strangers(self) -> None:
        """Remove links in our directories that nobody claims."""
        for top in DIRECTORIES:
            for directory, _, names in os.walk(f"{self._root}/{top}"):
                for entry in names:
                    path = f"{directory}/{entry}"
                    name = path.removeprefix(f"{self._root}/")
                    if os.path.islink(path) and name not in self._claims:
                        _unlink(path)

    def _withdraw(self, name: str, device: str) -> None:
        self._claims[name].remove(device)
        if not self._claims[name]:
            del self._claims[name]
        self._apply(name)

    def _apply(self, name: str) -> None:
        path = f"{self._root}/{name}"
        owners = self._claims.get(name)
        if not owners:
            _unlink(path)
            self._remove_empty(os.path.dirname(path))
            return
        target = os.path.relpath(f"{self._root}/{owners[0]}", os.path.dirname(path))
        try:
            if os.readlink(path) == target:
                return
        except OSError:
            pass  # missing, or not a link: rename below replaces it
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{os.path.dirname(path)}/.orlop-new"
        _unlink(temporary)
        os.symlink(target, temporary)
        os.rename(temporary, path)  # nobody ever sees the name missing

    def _remove_empty(self, directory: str) -> None:
        while directory.startswith(f"{self._root}/"):
            try:
                os.rmdir(directory)
            except OSError:
                return
            directory = os.path.dirname(directory)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
