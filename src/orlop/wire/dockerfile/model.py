"""The instructions of a Dockerfile as values, before variables are replaced.

An `Instruction` is one of the classes below; a `Step` is one with its place. Words are as written:
quotes and `$` are resolved when the step is its turn (`evaluate`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.wire.dockerfile.source import Heredoc


class MountType(StrEnum):
    """Of `RUN --mount`, those that this engine has."""

    BIND = "bind"
    CACHE = "cache"
    TMPFS = "tmpfs"


class RunNetwork(StrEnum):
    """Of `RUN --network`."""

    DEFAULT = "default"
    NONE = "none"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMount:
    """`RUN --mount=…`. Words may hold variables."""

    kind: MountType = MountType.BIND
    target: str
    source: str = ""
    from_: str = ""
    """Stage, index or image; empty: the build context, or nothing for a cache."""
    read_only: bool = True
    id: str = ""
    sharing: str = "shared"
    size: str = ""
    mode: str = ""
    uid: str = ""
    gid: str = ""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What follows RUN, CMD, ENTRYPOINT: an array, or a line for the shell."""

    words: tuple[str, ...]
    is_shell: bool
    heredocs: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    base: str
    name: str = ""
    platform: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    command: CommandLine
    mounts: tuple[RunMount, ...] = ()
    network: RunNetwork = RunNetwork.DEFAULT


@dataclass(frozen=True, slots=True)
class Cmd:
    command: CommandLine


@dataclass(frozen=True, slots=True)
class Entrypoint:
    command: CommandLine


@dataclass(frozen=True, slots=True)
class Label:
    pairs: tuple[tuple[str, str], ...]
    literal: bool = False
    """Given as an option of the build: nothing is replaced in it."""


@dataclass(frozen=True, slots=True)
class Env:
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Arg:
    """Names with their defaults; None: none."""

    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Expose:
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """COPY and ADD."""

    keyword: str
    """`COPY` or `ADD`."""
    sources: tuple[str, ...]
    heredocs: tuple[Heredoc, ...] = ()
    destination: str
    from_: str = ""
    chown: str = ""
    chmod: str = ""
    parents: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    unpack: bool | None = None
    """ADD --unpack; None: archives of the context are, downloads are not."""


@dataclass(frozen=True, slots=True)
class Volume:
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class User:
    user: str


@dataclass(frozen=True, slots=True)
class Workdir:
    path: str


@dataclass(frozen=True, slots=True)
class Onbuild:
    trigger: str


@dataclass(frozen=True, slots=True)
class StopSignal:
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """*test* as in an image's configuration: `NONE`, `CMD …` or `CMD-SHELL …`. 0: the default."""

    test: tuple[str, ...]
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Shell:
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Maintainer:
    name: str


type Instruction = (
    From
    | Run
    | Cmd
    | Entrypoint
    | Label
    | Env
    | Arg
    | Expose
    | Copy
    | Volume
    | User
    | Workdir
    | Onbuild
    | StopSignal
    | Healthcheck
    | Shell
    | Maintainer
)


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction, the line where it begins, and how it is shown."""

    line: int
    text: str
    instruction: Instruction


@dataclass(frozen=True, slots=True)
class Stage:
    """A `FROM` and what follows it."""

    line: int
    text: str
    base: From
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file. *arguments* are the ARGs before the first FROM."""

    arguments: tuple[Step, ...]
    stages: tuple[Stage, ...]
    escape: str = "\\"
    warnings: tuple[str, ...] = ()
