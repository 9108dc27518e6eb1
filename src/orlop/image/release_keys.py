"""The keys that sign releases: a directory of PEM files, by role.

`root-1.pem`, `root-2.pem`, ... belong on media that are not connected to anything; `targets.pem`
signs releases and channels; `snapshot.pem` and `timestamp.pem` belong where the repository is
published. What a command needs it takes from the directory it is given.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orlop.lib import signatures
from orlop.lib.errors import Conflict, InvalidArgument, NotFound
from orlop.wire.tuf.metadata import ROLES

ROOT_KEYS = 3
ROOT_THRESHOLD = 2
_NAME = re.compile(r"(root|targets|snapshot|timestamp)(-[0-9a-z]{1,16})?\.pem")


@dataclass(frozen=True, slots=True)
class Keys:
    """Private keys, by role; *place* is where they are from."""

    private: Mapping[str, Sequence[bytes]]
    place: str

    def of(self, role: str) -> Sequence[bytes]:
        """Those of *role*.

        Raises:
            NotFound: there is none.
        """
        if not self.private.get(role):
            text = f"{self.place} has no key of the role {role}"
            raise NotFound(text, hint=f"--key with the directory of {role}*.pem as well")
        return self.private[role]

    def public(self, role: str) -> list[bytes]:
        """The public keys of *role*.

        Raises:
            NotFound: there is none.
        """
        return [signatures.public_of(key) for key in self.of(role)]


def make(directory: Path, roots: int = ROOT_KEYS) -> Keys:
    """New keys for all roles in *directory*, which must not have any.

    Raises:
        Conflict: there are keys already.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(_NAME.fullmatch(name) for name in os.listdir(directory)):
        raise Conflict(f"{directory} has keys already", hint="name a directory that is not there")
    names = [f"root-{number}" for number in range(1, roots + 1)]
    for name in (*names, "targets", "snapshot", "timestamp"):
        write(directory, name)
    return read(directory)


def write(directory: Path, name: str) -> Path:
    """A new key as `NAME.pem`, for its owner alone.

    Raises:
        Conflict: there is one of that name.
    """
    path = directory / f"{name}.pem"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict(f"{path} is there already") from error
    with os.fdopen(descriptor, "w") as stream:
        stream.write(signatures.format_pem(signatures.new_key()))
        stream.flush()
        os.fsync(stream.fileno())
    return path


def read(*directories: Path) -> Keys:
    """The keys in *directories*.

    Raises:
        NotFound: there is none at all. InvalidArgument: a file is no key.
    """
    found: dict[str, list[bytes]] = {role: [] for role in ROLES}
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except OSError as error:
            raise NotFound(f"{directory}: {error.strerror}") from error
        for name in names:
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            try:
                key = signatures.parse_pem((directory / name).read_text())
            except (InvalidArgument, UnicodeDecodeError) as error:
                raise InvalidArgument(f"{directory / name}: {error}") from error
            found[match[1]].append(key)
    place = ", ".join(map(str, directories))
    if not any(found.values()):
        raise NotFound(f"{place} has no keys", hint="./orlop release new-keys DIR")
    return Keys(found, place)
