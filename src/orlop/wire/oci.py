"""The part of the OCI runtime configuration (config.json) that the engine writes, as types.

These are shapes of JSON objects and cost nothing at run time: import them under TYPE_CHECKING.
Source: OCI runtime specification 1.1, config.md and config-linux.md.
"""

from typing import Literal, NotRequired, TypedDict


class User(TypedDict):
    uid: int
    gid: int
    additionalGids: NotRequired[list[int]]
    umask: NotRequired[int]


class Capabilities(TypedDict):
    bounding: list[str]
    effective: list[str]
    permitted: list[str]
    inheritable: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    type: str
    hard: int
    soft: int


class ConsoleSize(TypedDict):
    height: int
    width: int


class Process(TypedDict):
    terminal: bool
    user: User
    args: list[str]
    env: list[str]
    cwd: str
    capabilities: Capabilities
    rlimits: list[Rlimit]
    noNewPrivileges: bool
    oomScoreAdj: int
    apparmorProfile: NotRequired[str]
    consoleSize: NotRequired[ConsoleSize]


class Root(TypedDict):
    path: str
    readonly: bool


class Mount(TypedDict):
    destination: str
    type: str
    source: str
    options: list[str]


class Namespace(TypedDict):
    type: str
    path: NotRequired[str]


class Device(TypedDict):
    path: str
    type: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class DeviceRule(TypedDict):
    allow: bool
    type: NotRequired[str]
    major: NotRequired[int]
    minor: NotRequired[int]
    access: str


class Memory(TypedDict, total=False):
    limit: int
    reservation: int
    swap: int


class Cpu(TypedDict, total=False):
    shares: int
    quota: int
    period: int
    cpus: str
    mems: str


class Pids(TypedDict):
    limit: int


class Resources(TypedDict, total=False):
    devices: list[DeviceRule]
    memory: Memory
    cpu: Cpu
    pids: Pids
    unified: dict[str, str]


class SyscallArgument(TypedDict):
    index: int
    value: int
    valueTwo: NotRequired[int]
    op: str


class Syscall(TypedDict):
    names: list[str]
    action: str
    errnoRet: NotRequired[int]
    args: NotRequired[list[SyscallArgument]]


class Seccomp(TypedDict):
    defaultAction: str
    defaultErrnoRet: NotRequired[int]
    architectures: list[str]
    syscalls: list[Syscall]


class IdMapping(TypedDict):
    containerID: int
    hostID: int
    size: int


class Linux(TypedDict):
    namespaces: list[Namespace]
    devices: list[Device]
    cgroupsPath: str
    resources: Resources
    sysctl: dict[str, str]
    maskedPaths: list[str]
    readonlyPaths: list[str]
    uidMappings: NotRequired[list[IdMapping]]
    gidMappings: NotRequired[list[IdMapping]]
    rootfsPropagation: NotRequired[Literal["private", "slave", "shared"]]
    seccomp: NotRequired[Seccomp]


class Config(TypedDict):
    """config.json."""

    ociVersion: str
    process: Process
    root: Root
    hostname: NotRequired[str]
    domainname: NotRequired[str]
    mounts: list[Mount]
    annotations: NotRequired[dict[str, str]]
    linux: Linux
