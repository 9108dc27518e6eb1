"""What templates see: JSON values, told apart as the Go types that docker's own command has.

A JSON object is either a Go map (any key may be asked for, printed as `map[...]`, ranged over in
order of its keys) or a Go struct (known fields, printed as `{...}`). `Map` marks the former; a
plain dict is a struct. Objects with a method `template_field` (the value of a field, KeyError if
there is none), maybe `template_method` and `json_text`, answer for themselves.
"""

from __future__ import annotations


class Map(dict[str, object]):
    """A Go map with strings as keys."""

    __slots__ = ()


class Struct(dict[str, object]):
    """A Go struct whose type errors name."""

    __slots__ = ("type_name",)

    def __init__(self, members: dict[str, object], type_name: str) -> None:
        super().__init__(members)
        self.type_name = type_name


class Nil:
    """A list or map that is null: empty, printed as an empty one, null in JSON."""

    __slots__ = ("shown",)

    def __init__(self, shown: str) -> None:
        self.shown = shown


NIL_LIST, NIL_MAP = Nil("[]"), Nil("map[]")


class Missing:
    """Go's invalid value: what a map gives for a key that it does not have."""

    __slots__ = ()


MISSING = Missing()
NO_VALUE = "<no value>"

MAPS = frozenset(
    (
        *("Annotations", "Attributes", "AuxiliaryAddresses", "Containers", "Data", "DriverOpts"),
        *("ExposedPorts", "IndexConfigs", "Labels", "Networks", "Options", "PortBindings", "Ports"),
        *("Runtimes", "StorageOpt", "Sysctls", "Tmpfs", "Volumes"),
    )
)
"""Members of the engine's answers that are Go maps; their values are not, unless named here too."""

LISTS = frozenset(
    (
        *("Aliases", "Args", "Binds", "CapAdd", "CapDrop", "Cmd", "Devices", "DeviceCgroupRules"),
        *("DeviceRequests", "Dns", "DnsOptions", "DnsSearch", "Entrypoint", "Env", "ExecIDs"),
        *("ExtraHosts", "GroupAdd", "Layers", "Links", "MaskedPaths", "Mounts", "OnBuild"),
        *("ReadonlyPaths", "RepoDigests", "RepoTags", "SecurityOpt", "Shell", "Test", "Ulimits"),
        *("VolumesFrom", "BlkioWeightDevice", "BlkioDeviceReadBps", "BlkioDeviceWriteBps"),
    )
)
"""Members that are Go slices: null is an empty one."""

_LISTS_BY_KEY = ("Ports", "PortBindings")
"""Go maps whose values are slices."""

_ZERO_BY_NAME: dict[str, object] = {
    **dict.fromkeys(("Health", "Healthcheck", "StopTimeout", "SizeRw", "SizeRootFs", "UsageData")),
    **dict.fromkeys(("Init", "Shell", "GraphDriver", "Annotations", "StorageOpt", "Mounts")),
    **dict.fromkeys(("StopSignal", "MacAddress", "Parent", "Comment", "Author", "Driver"), ""),
    **dict.fromkeys(
        ("Type", "Name", "Source", "Runtime", "Isolation", "Variant", "DockerVersion"), ""
    ),
    **dict.fromkeys(("CreatedAt", "OsVersion", "Created"), ""),
    **dict.fromkeys(("ArgsEscaped", "NetworkDisabled"), False),
    **dict.fromkeys(("Sysctls", "Tmpfs")),
}
"""Members that the engine leaves out of a struct when they have Go's zero value, as it is."""


def struct_field(value: dict[str, object], name: str) -> object:
    """The field *name* of a struct; JSON may spell it otherwise (`Id` for `ID`) or leave it out.

    Raises:
        KeyError: there is no such field, as far as is known.
    """
    lowered = name.lower()
    for key, member in value.items():
        if key.lower() == lowered:
            return member
    return _ZERO_BY_NAME[name]


def typed(value: object, name: str = "", depth: int = 0) -> object:
    """*value*, an engine's answer or the member *name* of one, with its Go maps marked."""
    if depth > 100:
        return value
    if value is None:
        return NIL_LIST if name in LISTS else NIL_MAP if name in MAPS else None
    if isinstance(value, list):
        return [typed(each, "", depth + 1) for each in value]
    if not isinstance(value, dict):
        return value
    inner = "Binds" if name in _LISTS_BY_KEY else ""
    members = {
        key: typed(each, inner if name in MAPS else key, depth + 1) for key, each in value.items()
    }
    # The configuration of a log driver is a map; a container's and an image's are structs.
    config = members.get("Config") if name == "LogConfig" else None
    if isinstance(config, dict):
        members["Config"] = Map(config)
    return Map(members) if name in MAPS else members


def plain_maps(value: object, depth: int = 0) -> object:
    """*value* with every JSON object as a Go map."""
    if depth > 100:
        return value
    if isinstance(value, list):
        return [plain_maps(each, depth + 1) for each in value]
    if isinstance(value, dict):
        return Map({key: plain_maps(each, depth + 1) for key, each in value.items()})
    return value


def is_true(value: object) -> bool:
    """Go's truth: not zero, not empty; a struct is always true."""
    if isinstance(value, Missing | Nil) or value is None:
        return False
    if isinstance(value, dict) and not isinstance(value, Map):
        return True
    if isinstance(value, bool | int | float | str | list | dict):
        return bool(value)
    return True


def show(value: object, *, plus: bool = False, top: bool = True) -> str:
    """*value* as Go's `%v` prints it (`%+v` with *plus*, which names the fields of structs)."""
    match value:
        case Missing():
            return NO_VALUE
        case Nil():
            return value.shown
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return show_float(value)
        case list():
            return f"[{' '.join(show(each, plus=plus, top=False) for each in value)}]"
        case Map():
            cells = (f"{key}:{show(value[key], plus=plus, top=False)}" for key in sorted(value))
            return f"map[{' '.join(cells)}]"
        case dict():
            shown = {key: show(each, plus=plus, top=False) for key, each in value.items()}
            cells = (f"{key}:{text}" if plus else text for key, text in shown.items())
            return f"{{{' '.join(cells)}}}"
        case _:
            return str(value)


def show_float(value: float) -> str:
    """As `%v`: the shortest form that reads back, with an exponent from 1e+21 on."""
    if value == int(value) if abs(value) < 1e21 else False:
        return str(int(value))
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    if e:
        sign = exponent[0] if exponent[0] in "+-" else "+"
        return f"{mantissa}e{sign}{exponent.lstrip('+-').zfill(2)}"
    return text


def quote(text: str) -> str:
    """*text* as a Go string constant, `%q`."""
    escapes = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    escapes |= {"\v": "\\v", "\\": "\\\\", '"': '\\"'}
    out = []
    for char in text:
        if char in escapes:
            out.append(escapes[char])
        elif char.isprintable():
            out.append(char)
        else:
            code = ord(char)
            out.append(
                f"\\x{code:02x}"
                if code < 0x80
                else f"\\u{code:04x}"
                if code < 0x10000
                else f"\\U{code:08x}"
            )
    return '"' + "".join(out) + '"'


def _null(value: object) -> None:
    assert isinstance(value, Nil)


def json_text(value: object) -> str:
    """*value* as compact JSON, characters as they are."""
    own = getattr(value, "json_text", None)
    if own is not None:
        return str(own())
    from json import dumps

    plain = None if isinstance(value, Missing) else value
    return dumps(plain, separators=(",", ":"), ensure_ascii=False, default=_null)
