"""`./orlop size`: print where the bytes of the ISO are, and fail above the budget."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orlop.lib.errors import NotFound

BUDGET_BYTES = 20_000_000


def main(checkout: Path, argv: Sequence[str]) -> int:
    """Print the table of ``out/manifest.json``; 1 if the ISO is larger than the budget."""
    parser = argparse.ArgumentParser(prog="./orlop size", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the numbers as JSON")
    parser.add_argument("--components", action="store_true", help="one row for each component")
    options = parser.parse_args(argv)
    manifest = read_manifest(checkout / "out/manifest.json")
    if options.json:
        keys = ("outputs", "groups", "services", "components")
        print(json.dumps({key: manifest[key] for key in keys}, indent=1, sort_keys=True))
    else:
        print(render(manifest, components=options.components))
    size = int(manifest["outputs"]["orlop.iso"]["size_bytes"])
    if size > BUDGET_BYTES:
        over = size - BUDGET_BYTES
        print(f"orlop: the ISO is {over:,} bytes over its budget", file=sys.stderr)
        return 1
    return 0


def read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", hint="./orlop build") from None
    return manifest


def render(manifest: Mapping[str, Any], *, components: bool = False) -> str:
    """The table as text: groups of the ISO, then the services, perhaps the components."""
    size = int(manifest["outputs"]["orlop.iso"]["size_bytes"])
    lines = [_line("in the ISO", "raw", "% of ISO", "")]
    lines += [
        _line(
            f"{group['image_bytes']:,}",
            f"{group['raw_bytes']:,}",
            f"{100 * group['image_bytes'] / size:.1f}",
            group["name"],
        )
        for group in manifest["groups"]
    ]
    share = 100 * size / BUDGET_BYTES
    lines += [
        _line(f"{size:,}", "", "100.0", "orlop.iso"),
        f"{share:.1f} % of the budget of {BUDGET_BYTES:,} bytes",
        "",
        _line("own", "all files", "", "service image (the rest is shared with others)"),
    ]
    lines += [
        _line(f"{service['own_bytes']:,}", f"{service['raw_bytes']:,}", "", service["name"])
        for service in manifest["services"]
    ]
    if components:
        ordered = sorted(manifest["components"], key=lambda part: -part["image_bytes"])
        lines += ["", _line("in the ISO", "raw", "", "component")]
        lines += [
            _line(
                f"{part['image_bytes']:,}",
                f"{part['raw_bytes']:,}",
                "",
                f"{part['name']} {part['version']} ({part['licence']})",
            )
            for part in ordered
        ]
    return "\n".join(lines)


def _line(first: str, second: str, third: str, name: str) -> str:
    return f"{first:>12} {second:>12} {third:>8}  {name}".rstrip()
