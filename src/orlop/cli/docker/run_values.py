"""Values of `run`'s flags that have a form of their own, as the API takes them.

All raise ValueError with docker's text.
"""

from __future__ import annotations

import os

from orlop.cli.docker.flags import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop.cli.docker.session import Object

_ULIMITS = frozenset(
    (
        *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile"),
        *("nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)
MAX_FILE_BYTES = 1 << 20
MAX_PORTS = 65536


def ulimit(text: str) -> Object:
    """`nofile=1024:2048`."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    soft, colon, hard = limits.partition(":")
    try:
        numbers = int(soft), int(hard if colon else soft)
    except ValueError:
        bad = soft if not soft.lstrip("-").isdigit() else hard
        raise ValueError(f'strconv.ParseInt: parsing "{bad}": invalid syntax') from None
    if numbers[1] >= 0 and (numbers[0] > numbers[1] or numbers[0] == -1):
        shown = "-1 (unlimited)" if numbers[0] == -1 else str(numbers[0])
        raise ValueError(
            f"ulimit soft limit must be less than or equal to hard limit: {shown} > {numbers[1]}"
        )
    return {"Name": name, "Hard": numbers[1], "Soft": numbers[0]}


def network_option(text: str) -> dict[str, list[str]]:
    """`NAME`, or `name=NAME,alias=A,ip=...`: keys to their values."""
    if "=" not in text:
        return {"name": [text]}
    known = ("name", "alias", "ip", "ip6", "mac-address", "link-local-ip", "driver-opt")
    found: dict[str, list[str]] = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals:
            raise ValueError(f"invalid field {field}")
        if key not in known:
            raise ValueError(f"invalid field key {key}")
        found.setdefault(key, []).append(value.strip())
    if "name" not in found:
        raise ValueError("network name/id is not specified")
    return found


def environment(values: Iterable[str], files: Iterable[str]) -> list[str]:
    """`--env-file`s' lines, then `--env`s; a name alone has the value that it has here."""
    lines = [line for path in files for line in lines_of_file(path, is_environment=True)]
    found = []
    for text in [*lines, *values]:
        name, equals, _ = text.partition("=")
        if equals:
            found.append(text)
        elif name in os.environ:
            found.append(f"{name}={os.environ[name]}")
        elif text not in lines:
            found.append(text)
    return found


def labels(values: Iterable[str], files: Iterable[str]) -> dict[str, str]:
    """Labels of files, then of flags; a name alone is an empty label, and in a file nothing."""
    lines = [line for path in files for line in lines_of_file(path, is_environment=False)]
    return key_values([*(line for line in lines if "=" in line), *values])


def key_values(values: Iterable[str]) -> dict[str, str]:
    """`NAME=VALUE`s as an object."""
    return {name: value for name, _, value in (text.partition("=") for text in values)}


def lines_of_file(path: str, *, is_environment: bool) -> list[str]:
    """The lines of an environment or label file that say something."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read(MAX_FILE_BYTES).splitlines()
    except OSError as error:
        text = (error.strerror or str(error)).lower()
        raise ValueError(f"open {path}: {text}") from None
    found = []
    for line in lines:
        text = line.lstrip()
        if not text or text.startswith("#"):
            continue
        name = text.partition("=")[0]
        if is_environment and (not name or any(char.isspace() for char in name)):
            what = (
                "no variable name on line"
                if not name
                else f"variable '{name}' contains whitespaces"
            )
            raise ValueError(f"invalid env file ({path}): {what}")
        found.append(text)
    return found


def throttle(text: str, *, is_size: bool) -> Object:
    """`/dev/sda:1mb`."""
    path, colon, rate = text.partition(":")
    if not colon or not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}" if colon else f"bad format: {text}")
    try:
        number = parse_bytes(rate) if is_size else int(rate)
    except ValueError:
        raise ValueError(f"invalid rate for device: {text}") from None
    if number < 0:
        raise ValueError(f"invalid rate for device: {text}")
    return {"Path": path, "Rate": number}


def weight_device(text: str) -> Object:
    """`/dev/sda:200`."""
    path, colon, weight = text.partition(":")
    if not colon or not path.startswith("/dev/"):
        raise ValueError(f"bad format: {text}")
    if not weight.isdigit() or (int(weight) and not 10 <= int(weight) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(weight)}


def device(text: str) -> Object:
    """`/dev/sda[:/dev/x][:rwm]`."""
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError(f"invalid device specification: {text}")
    source, target, access = parts[0], "", "rwm"
    if len(parts) == 3:
        _, target, access = parts
    elif len(parts) == 2:
        if parts[1] and not parts[1].strip("rwm") and len(set(parts[1])) == len(parts[1]):
            access = parts[1]
        else:
            target = parts[1]
    return {"PathOnHost": source, "PathInContainer": target or source, "CgroupPermissions": access}


def gpus(text: str) -> list[Object]:
    """`all`, a number, or `device=ID,capabilities=...`."""
    request: Object = {"Driver": "", "Count": 0, "DeviceIDs": None, "Options": {}}
    capabilities = ["gpu"]
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals:
            key, value = "count", key
        if key == "count":
            request["Count"] = -1 if value == "all" else int(value)
        elif key == "device":
            request["DeviceIDs"] = value.split(",")
        elif key == "driver":
            request["Driver"] = value
        elif key == "capabilities":
            capabilities = [*value.split(","), "gpu"]
        else:
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    request["Capabilities"] = [capabilities]
    return [request]


def restart_policy(text: str) -> Object:
    """`on-failure:3`."""
    name, colon, count = text.partition(":")
    if not text:
        return {"Name": "", "MaximumRetryCount": 0}
    if colon and not name:
        raise ValueError("invalid restart policy format: no policy provided before colon")
    if colon and not count.isdigit():
        raise ValueError("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def security_options(values: Sequence[str]) -> list[str]:
    """`seccomp=FILE` becomes the profile itself; `systempaths=unconfined` is no option of these."""
    return [_security_option(text) for text in values if text != "systempaths=unconfined"]


def _security_option(text: str) -> str:
    if text.partition("=")[0].partition(":")[0] == "no-new-privileges":
        return text
    name, equals, value = text.partition("=")
    if not equals and ":" not in text:
        raise ValueError(f'Invalid --security-opt: "{text}"')
    if equals and name == "seccomp" and value not in ("unconfined", "builtin"):
        return f"{name}={_seccomp(value)}"
    return text


def _seccomp(path: str) -> str:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            return json.dumps(json.loads(file.read(MAX_FILE_BYTES)), separators=(",", ":"))
    except OSError as error:
        text = (error.strerror or str(error)).lower()
        raise ValueError(f"opening seccomp profile ({path}) failed: open {path}: {text}") from None
    except ValueError as error:
        raise ValueError(f"compacting json for seccomp profile ({path}) failed: {error}") from None


def gather_ulimits(values: Iterable[str]) -> list[Object]:
    """All limits, the last of each name, in order of names."""
    by_name = {str(each["Name"]): each for each in map(ulimit, values)}
    return [by_name[name] for name in sorted(by_name)]
