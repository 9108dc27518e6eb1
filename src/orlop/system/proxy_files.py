"""The engine's proxies as variables of the consoles, so that what a person starts there goes the
same way. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.system.config_files import CONSOLES, File

if TYPE_CHECKING:
    from orlop.system.configuration import Configuration

PROFILE = "/etc/profile.d/proxy.sh"
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
    lines = [f"export {name}={_quote(value)}\n" for name, value in variables(of).items()]
    data = "".join(lines).encode()
    return [File(name, PROFILE, data, 0o644, 0, 0) for name in CONSOLES] if lines else []


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
