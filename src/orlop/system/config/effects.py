"""What a configuration would change on the machine, before it does: the report of a change.

`differences`: `{"key", "old", "new"}`, values that nobody is shown hidden. `services`: `{"name",
"action"}`, with start, stop, restart or reload. `reboot`: keys whose change takes effect at the
next boot. `problems` and `notices` of the sources.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.system import commands
from orlop.system.config import files
from orlop.system.config.actions import planned_files
from orlop.system.services.services import ServiceState
from orlop.system.storage import persistence
from orlop.wire.compose_model import ConfigDelivery
from orlop.wire.config.secrets import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.system.boot import Boot
    from orlop.system.config.configuration import Configuration
    from orlop.system.config.control import ConfigControl
    from orlop.wire.compose_model import Json

_IDLE = (ServiceState.SKIPPED, ServiceState.DISABLED)


def report(control: ConfigControl, boot: Boot, new: Configuration) -> dict[str, Json]:
    """What putting *new* in force would change."""
    services: list[Json] = []
    remounted = files.remounted(planned_files(new)[0]) - {*commands.NAMES}
    if persistence.wanted(new.get("orlop.persist")) != persistence.in_force():
        remounted |= {*persistence.SERVICES} - {*commands.NAMES}
    conditions = replace(boot.conditions, configuration=new)
    for status in boot.services.statuses():
        action = ""
        definition = boot.services.definition(status.name)
        refusal = conditions.refusal(definition)
        if status.state is ServiceState.RUNNING:
            if refusal is not None and refusal[0] is ServiceState.DISABLED:
                action = "stop"
            elif status.name in remounted:
                action = "restart"
            elif control.service_data(status.name, new) != control.service_data(
                status.name, control.current
            ):
                reloads = definition.config is ConfigDelivery.RELOAD
                action = "reload" if reloads else "restart"
        elif status.state in _IDLE and refusal is None:
            action = "start"
        if action:
            services.append({"name": status.name, "action": action})
    found = differences(control.current, new)
    keys = {str(entry["key"]) for entry in found if isinstance(entry, dict)}
    return {
        "differences": found,
        "services": services,
        "reboot": [key for key in new.at_boot if key in keys],
        "problems": [*new.problems],
        "notices": [*new.notices],
    }


def differences(old: Configuration, new: Configuration) -> list[Json]:
    """The values that are not the same; None stands for no value."""
    patterns = new.secrets or old.secrets
    shown_old, shown_new = (_flat(hide(dict(c.data), patterns)) for c in (old, new))
    plain_old, plain_new = _flat(old.data), _flat(new.data)
    return [
        {"key": key, "old": shown_old.get(key), "new": shown_new.get(key)}
        for key in sorted({*plain_old, *plain_new})
        if plain_old.get(key) != plain_new.get(key)
    ]


def _flat(data: Mapping[str, Json], prefix: str = "") -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
