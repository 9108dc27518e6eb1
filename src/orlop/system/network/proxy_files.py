"""Variables of the consoles. Pure.

The engine's proxies, so that what a person starts there goes the same way, and directories that
`PATH` or `path` of `orlop.environment` adds, as RancherOS has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.system.config.configuration import as_map
from orlop.system.config.files import READERS, File

if TYPE_CHECKING:
    from orlop.system.config.configuration import Configuration

PROFILE = "/etc/profile.d/proxy.sh"
PATHS = "/etc/profile.d/path.sh"
HERE = ("localhost", "127.0.0.1", "::1")


def variables(of: Configuration) -> dict[str, str]:
    """Names in upper and in lower case, for programs know one or the other; empty without any."""
    found: dict[str, str] = {}
    for name in ("http_proxy", "https_proxy"):
        if value := of.get(f"orlop.engine.{name}"):
            text = str(value)
            found[name] = text if "://" in text else f"http://{text}"
    if not found:
        return {}
    none = of.get("orlop.engine.no_proxy")
    items = [str(item) for item in none] if isinstance(none, list) else []
    found["no_proxy"] = ",".join(dict.fromkeys((*items, *HERE)))
    return found | {name.upper(): value for name, value in found.items()}


def files(of: Configuration) -> list[File]:
    """What sets them in login shells, and in the configuration's commands."""
    texts = {
        PROFILE: [f"export {name}={_quote(value)}\n" for name, value in variables(of).items()],
        PATHS: [f'export PATH="$PATH":{_quote(place)}\n' for place in paths(of)],
    }
    return [
        File(name, path, "".join(lines).encode(), 0o644, 0, 0)
        for path, lines in texts.items()
        if lines
        for name in READERS
    ]


def paths(of: Configuration) -> list[str]:
    """The directories to look for programs in, after the system's own."""
    environment = as_map(of.get("orlop.environment"))
    texts = [str(environment.get(name) or "") for name in ("PATH", "path")]
    return [place for text in texts for each in text.split(",") if (place := each.strip())]


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
