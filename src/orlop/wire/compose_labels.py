"""Labels of a service that say when and how it is started: `org.orlop.*` and those of RancherOS.

They mean the same as keys of `x-orlop`, for people whose tools write labels. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.compose_values import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.wire.compose_values import Fields

    type Notice = Callable[[tuple[str, ...], str], None]

OURS, RANCHER = "org.orlop.", "io.rancher.os."
CRON = "cron.schedule"

NAMES: Mapping[str, str] = {
    "docker": "engine",
    "ntp": "time",
    "udev": "devices",
    "udev-cold": "devices",
    "acpid": "power",
    "cloud-init": "cloud",
    "cloud-init-execute": "cloud",
    "user-docker": "engine",
    "rsyslog": "syslog",
}
"""Services of RancherOS, and what does their work here."""

_WORDS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
_FLAGS = {"detach": "detach", "createonly": "create_only", "reloadconfig": "reload_config"}
_WITHOUT_EFFECT = ("console", "remove", "environment")
KNOWN = ("scope", "after", "before", "schedule", *_FLAGS)


def labels_of(value: object) -> dict[str, str]:
    """`labels` as a map, whatever its form; what has none of them is left to be complained of."""
    if isinstance(value, dict):
        items = ((key, _word(text)) for key, text in value.items())
        return {key: text for key, text in items if isinstance(key, str)}
    if isinstance(value, list):
        return dict(item.partition("=")[::2] for item in value if isinstance(item, str))
    return {}


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def apply(mapping: dict[str, object], fields: Fields, notice: Notice) -> None:
    """Put what the labels of the service *mapping* say into its keys; *fields* is for errors."""
    found = _meant_for_us(labels_of(mapping.get("labels")))
    if not found:
        return
    extension = mapping.get("x-orlop")
    extension = dict(extension) if isinstance(extension, dict) else {}
    for key, (name, text) in found.items():
        match key:
            case "scope":
                _check_scope(name, text, fields, notice)
            case "after":
                _add_dependencies(mapping, text)
            case "before":
                extension.setdefault("before", _names(text))
            case "schedule":
                extension.setdefault("schedule", text)
            case _ if key in _FLAGS:
                if text.lower() not in _WORDS:
                    fields.fail("labels", f"{name}: must be true or false, not {text!r}")
                extension.setdefault(_FLAGS[key], _WORDS[text.lower()])
            case _ if key in _WITHOUT_EFFECT and name.startswith(RANCHER):
                notice(("labels", name), "means nothing here, ignoring")
            case _:
                guess = nearest(key, KNOWN)
                hint = f"did you mean {OURS}{guess}?" if guess else None
                fields.fail("labels", f"{name}: unknown label", hint)
    mapping["x-orlop"] = extension


def _meant_for_us(labels: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """What the labels say, each with its whole name; our own count more."""
    found = {
        name.removeprefix(prefix): (name, text)
        for prefix in (RANCHER, OURS)
        for name, text in labels.items()
        if name.startswith(prefix)
    }
    return found | ({"schedule": (CRON, labels[CRON])} if CRON in labels else {})


def _check_scope(name: str, text: str, fields: Fields, notice: Notice) -> None:
    if text == "user":
        notice(
            ("labels", name),
            "it runs as a system service all the same, where `docker ps` does not show it",
        )
    elif text != "system":
        fields.fail("labels", f"{name}: must be system, not {text!r}")


def _names(text: str) -> list[str]:
    words = (word.strip() for word in text.split(","))
    return [NAMES.get(word, word) for word in words if word]


def _add_dependencies(mapping: dict[str, object], text: str) -> None:
    """Soft ones: only if the others are there, and whatever becomes of them."""
    written = mapping.get("depends_on")
    if isinstance(written, list):
        written = {name: {} for name in written if isinstance(name, str)}
    found: dict[object, object] = dict(written) if isinstance(written, dict) else {}
    for name in _names(text):
        found.setdefault(name, {"required": False})
    mapping["depends_on"] = found
