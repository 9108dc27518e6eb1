"""Chain ids: what a layer is called together with those below it (OCI image specification)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.images import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Sequence


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """One for each of *diff_ids*, which begin with the lowest."""
    chains: list[str] = []
    for diff_id in diff_ids:
        if not chains:
            chains.append(diff_id)
        else:
            chains.append(f"sha256:{sha256_hex(f'{chains[-1]} {diff_id}'.encode())}")
    return chains
