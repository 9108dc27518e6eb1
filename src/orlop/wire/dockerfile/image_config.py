"""The configuration of an image, and what the instructions without files do to it.

`ImageConfig` is the `Config` of Docker's image JSON with the fields that a build changes; others
are carried along. `apply` is pure and gives the comment of the history as dockerd writes it.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
import re
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile import model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_KNOWN = frozenset(
    {
        "Cmd",
        "Entrypoint",
        "Env",
        "ExposedPorts",
        "Healthcheck",
        "Labels",
        "OnBuild",
        "Shell",
        "StopSignal",
        "User",
        "Volumes",
        "WorkingDir",
    }
)
_PORT = re.compile(
    r"(?:(?:\[[0-9a-fA-F:.]*\]|[0-9.]*):)?(?:[0-9-]*:)?(?P<first>\d{1,5})(?:-(?P<last>\d{1,5}))?"
    r"(?:/(?P<protocol>\w+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """None: not set, which for a command is not the same as empty."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    healthcheck: model.Healthcheck | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    stop_signal: str = ""
    shell: tuple[str, ...] | None = None
    onbuild: tuple[str, ...] = ()
    other: Mapping[str, Json] = field(default_factory=dict)

    def environment_map(self) -> dict[str, str]:
        return dict(self.environment)

    def shell_words(self) -> tuple[str, ...]:
        return self.shell or DEFAULT_SHELL


def from_json(data: Mapping[str, Json]) -> ImageConfig:
    """The configuration in *data*; fields of a wrong type count as not set."""
    health = data.get("Healthcheck")
    command, entrypoint = data.get("Cmd"), data.get("Entrypoint")
    return ImageConfig(
        user=_text(data, "User"),
        exposed_ports=tuple(_map(data, "ExposedPorts")),
        environment=tuple(_split(item) for item in _texts(data.get("Env"))),
        command=_texts(command) if isinstance(command, list) else None,
        entrypoint=_texts(entrypoint) if isinstance(entrypoint, list) else None,
        healthcheck=_health(health) if isinstance(health, dict) else None,
        volumes=tuple(_map(data, "Volumes")),
        working_dir=_text(data, "WorkingDir"),
        labels=tuple((key, str(value)) for key, value in _map(data, "Labels").items()),
        stop_signal=_text(data, "StopSignal"),
        shell=_texts(data.get("Shell")) or None,
        onbuild=_texts(data.get("OnBuild")),
        other={key: value for key, value in data.items() if key not in _KNOWN},
    )


def _split(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


def _text(data: Mapping[str, Json], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _map(data: Mapping[str, Json], key: str) -> dict[str, Json]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _number(data: Mapping[str, Json], key: str) -> int:
    value = data.get(key)
    return value if isinstance(value, int) else 0


def _health(data: Mapping[str, Json]) -> model.Healthcheck:
    return model.Healthcheck(
        test=_texts(data.get("Test")),
        interval_ns=_number(data, "Interval"),
        timeout_ns=_number(data, "Timeout"),
        start_period_ns=_number(data, "StartPeriod"),
        start_interval_ns=_number(data, "StartInterval"),
        retries=_number(data, "Retries"),
    )


def to_json(config: ImageConfig) -> dict[str, Json]:
    """As in an image's configuration; what is not set is left out, as the OCI says."""
    wanted: dict[str, Json] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in sorted(config.exposed_ports)},
        "Env": [f"{name}={value}" for name, value in config.environment],
        "Volumes": {path: {} for path in sorted(config.volumes)},
        "WorkingDir": config.working_dir,
        "Labels": dict(config.labels),
        "StopSignal": config.stop_signal,
        "OnBuild": list(config.onbuild),
        "Shell": list(config.shell or ()),
    }
    data = dict(config.other) | {key: value for key, value in wanted.items() if value}
    if config.command is not None:
        data["Cmd"] = list(config.command)
    if config.entrypoint is not None:
        data["Entrypoint"] = list(config.entrypoint)
    if config.healthcheck is not None:
        data["Healthcheck"] = health_to_json(config.healthcheck)
    return data


def health_to_json(health: model.Healthcheck) -> dict[str, Json]:
    """`Healthcheck`; zeros are left out."""
    numbers = {
        "Interval": health.interval_ns,
        "Timeout": health.timeout_ns,
        "StartPeriod": health.start_period_ns,
        "StartInterval": health.start_interval_ns,
        "Retries": health.retries,
    }
    data: dict[str, Json] = {"Test": list(health.test)}
    return data | {key: value for key, value in numbers.items() if value}


def apply(
    config: ImageConfig, instruction: model.Instruction, *, command_is_set: bool = False
) -> tuple[ImageConfig, str]:
    """*config* after an expanded instruction without files, and its comment in the history.

    *command_is_set*: the stage had a CMD of its own, which an ENTRYPOINT then leaves alone.

    Raises:
        InvalidArgument: a value that cannot be, or an instruction that is not one of these.
    """
    match instruction:
        case model.Env(pairs):
            environment = dict(config.environment) | dict(pairs)
            text = "ENV " + " ".join(f"{name}={value}" for name, value in pairs)
            return dataclasses.replace(config, environment=tuple(environment.items())), text
        case model.Label(pairs):
            labels = dict(config.labels) | dict(pairs)
            text = "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)
            return dataclasses.replace(config, labels=tuple(labels.items())), text
        case model.Arg(pairs):
            words = [name if value is None else f"{name}={value}" for name, value in pairs]
            return config, "ARG " + " ".join(words)
        case model.Cmd() | model.Entrypoint() | model.Shell() | model.Healthcheck():
            return _apply_command(config, instruction, command_is_set=command_is_set)
        case _:
            return _apply_value(config, instruction)


def _apply_command(
    config: ImageConfig,
    instruction: model.Cmd | model.Entrypoint | model.Shell | model.Healthcheck,
    *,
    command_is_set: bool,
) -> tuple[ImageConfig, str]:
    match instruction:
        case model.Cmd(command):
            words = command_words(config, command)
            return dataclasses.replace(config, command=words), f"CMD {_quoted(words)}"
        case model.Entrypoint(command):
            words = command_words(config, command)
            kept = config.command if command_is_set else None
            changed = dataclasses.replace(config, entrypoint=words, command=kept)
            return changed, f"ENTRYPOINT {_quoted(words)}"
        case model.Shell(words):
            return dataclasses.replace(config, shell=words), f"SHELL [{' '.join(words)}]"
        case model.Healthcheck():
            text = f"HEALTHCHECK {json.dumps(health_to_json(instruction), ensure_ascii=False)}"
            return dataclasses.replace(config, healthcheck=instruction), text


def without_triggers(config: ImageConfig) -> ImageConfig:
    """*config* for a child, at whose beginning the triggers were executed."""
    return dataclasses.replace(config, onbuild=())


def command_words(config: ImageConfig, command: model.CommandLine) -> tuple[str, ...]:
    """What is executed: the array, or the shell with the line."""
    if not command.is_shell:
        return command.words
    return (*config.shell_words(), *command.words)


def _quoted(words: tuple[str, ...]) -> str:
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"


def _apply_value(config: ImageConfig, instruction: model.Instruction) -> tuple[ImageConfig, str]:
    match instruction:
        case model.Expose(ports):
            added = [port for text in ports for port in parse_ports(text)]
            exposed = tuple(dict.fromkeys((*config.exposed_ports, *added)))
            changed = dataclasses.replace(config, exposed_ports=exposed)
            return changed, "EXPOSE " + " ".join(ports)
        case model.Volume(paths):
            if "" in paths:
                raise InvalidArgument("VOLUME specified can not be an empty string")
            volumes = tuple(dict.fromkeys((*config.volumes, *paths)))
            return dataclasses.replace(config, volumes=volumes), f"VOLUME [{' '.join(paths)}]"
        case model.User(user):
            return dataclasses.replace(config, user=user), f"USER {user}"
        case model.Workdir(path):
            directory = join_directory(config.working_dir, path)
            return dataclasses.replace(config, working_dir=directory), f"WORKDIR {directory}"
        case model.Onbuild(trigger):
            changed = dataclasses.replace(config, onbuild=(*config.onbuild, trigger))
            return changed, f"ONBUILD {trigger}"
        case model.StopSignal(name):
            check_signal(name)
            return dataclasses.replace(config, stop_signal=name), f"STOPSIGNAL {name}"
        case model.Maintainer(name):
            return config, f"MAINTAINER {name}"
        case _:
            raise InvalidArgument(f"{type(instruction).__name__} does not change a configuration")


def join_directory(current: str, path: str) -> str:
    """WORKDIR: absolute as it is, else below *current*; always clean.

    Raises:
        InvalidArgument: empty.
    """
    if not path:
        raise InvalidArgument("cannot normalize nothing")
    joined = posixpath.normpath(posixpath.join("/", current, path))
    # POSIX keeps two slashes at the beginning; nobody wants them here.
    return f"/{joined.lstrip('/')}"


def parse_ports(text: str) -> list[str]:
    """`80`, `53/udp`, `8000-8010` as `80/tcp` and so on; a host's part before is passed over.

    Raises:
        InvalidArgument: not a port.
    """
    match = _PORT.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"invalid containerPort: {text[:80]}")
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidArgument(f"invalid proto: {protocol}")
    first = int(match["first"])
    last = int(match["last"] or first)
    if first > last or last > 65535:
        raise InvalidArgument(f"invalid containerPort: {text[:80]}")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def check_signal(text: str) -> None:
    """Refuse what is no signal.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    name = text.upper().removeprefix("SIG")
    if text.isascii() and text.isdigit() and 0 < int(text) < signal.NSIG:
        return
    base, _, offset = name.partition("+")
    if base in ("RTMIN", "RTMAX") and (not offset or offset.isdigit()):
        return
    if name.isalnum() and f"SIG{name}" in signal.Signals.__members__:
        return
    raise InvalidArgument(f"invalid signal: {text[:80]}")
