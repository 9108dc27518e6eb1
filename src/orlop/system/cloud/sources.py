"""Decides which data sources are asked, and what the service that asks them is told.

PID 1 loads this only where something points to a source: see `cloud.control`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.system.parameters import split_command_line
from orlop.wire.cloud import candidates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.system.config.configuration import Configuration
    from orlop.wire.cloud.candidates import Candidates
    from orlop.wire.compose_model import Json

SEED_ONLY = ("seed",)
"""For the service: only what the user data of the seed disk includes by URL is to be fetched."""


def choose(
    dmi: Mapping[str, str],
    command_line: str,
    configuration: Configuration,
    asked: tuple[str, ...],
    *,
    has_seed: bool,
) -> Candidates:
    """The sources to ask, now that *configuration* is known; *asked* are those up to now."""
    wanted, url = candidates.wanted_names(configuration.data)
    found = candidates.choose(dmi, split_command_line(command_line), wanted, url)
    if has_seed and configuration.cloud.get("source") in candidates.DISK_SOURCES:
        # What is on a disk is the machine's own: nobody else is asked.
        needed = configuration.cloud.get("includes") or asked == SEED_ONLY
        found = replace(found, network=SEED_ONLY if needed else ())
    return found


def settings(found: Candidates, dmi: Mapping[str, str]) -> dict[str, Json]:
    """What the service is told."""
    return {
        "sources": [*found.network],
        "seed": dict(found.seed),
        "url": found.url,
        "serial": dmi.get("product_serial", ""),
        "machine": dmi.get("product_uuid", "").lower(),
    }


def make_directory(path: str, owner: tuple[int, int]) -> None:
    """Make *path*, for *owner* to write to.

    Raises:
        OSError: it cannot be made.
    """
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return
    os.chown(path, *owner)
