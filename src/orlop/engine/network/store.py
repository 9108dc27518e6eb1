"""Networks on file: DATA/networks/ID.json each, and what an engine keeps for all of them.

Written durably: a network that was answered for is there after a power cut. A damaged file is set
aside and reported; the other networks come up.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

from orlop.engine import json_codec
from orlop.engine.network.model import Network
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument, OrlopError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

FORMAT = 1
MAX_FILE_BYTES = 1 << 20
_ULA_FILE = "ula"


class NetworkStore:
    """The directory *directory*."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self) -> list[Network]:
        """All networks, oldest first.

        Raises:
            OSError: the directory cannot be made or read.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic_file.remove_temporaries(self._directory)
        found = []
        for path in self._directory.iterdir():
            if path.suffix == ".json":
                try:
                    found.append(_read(path))
                except (OSError, OrlopError) as error:
                    log.error("network %s is set aside: %s", path.stem[:12], error)
                    os.replace(path, path.with_suffix(".broken"))
        return sorted(found, key=lambda network: network.created_ns)

    def save(self, network: Network) -> None:
        """Store *network*, durably.

        Raises:
            OSError: no space.
        """
        data = {"format": FORMAT, "network": json_codec.encode(network)}
        text = json.dumps(data, separators=(",", ":"))
        atomic_file.write_text(self._directory / f"{network.id}.json", text, mode=0o600)

    def delete(self, network_id: str) -> None:
        """Forget it, durably."""
        (self._directory / f"{network_id}.json").unlink(missing_ok=True)
        atomic_file.sync_directory(self._directory)

    def ula(self) -> str:
        """This engine's own IPv6 prefix (RFC 4193), chosen at random once.

        Raises:
            OSError: it cannot be stored.
        """
        path = self._directory / _ULA_FILE
        try:
            return _ula_text(bytes.fromhex(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            chosen = os.urandom(5)
            atomic_file.write_text(path, chosen.hex(), mode=0o600)
            return _ula_text(chosen)


def _ula_text(random: bytes) -> str:
    if len(random) != 5:
        raise ValueError(random)
    digits = (b"\xfd" + random).hex()
    return f"{digits[:4]}:{digits[4:8]}:{digits[8:]}::/48"


def _read(path: Path) -> Network:
    with open(path, "rb") as stream:
        text = stream.read(MAX_FILE_BYTES)
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidArgument(f"{path} has an unknown format")
    network = json_codec.decode(Network, data.get("network"), str(path))
    if network.id != path.stem:
        raise InvalidArgument(f"{path} belongs to network {network.id[:12]}")
    return network
