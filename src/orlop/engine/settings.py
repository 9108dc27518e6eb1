"""Where an engine keeps its things, and the defaults it gives containers."""

from dataclasses import dataclass, field
from pathlib import Path

from orlop.engine.defaults import ContainerDefaults
from orlop.engine.registry.settings import Registries
from orlop.wire.compose_model import LogLimits

DEFAULT_PIDS_LIMIT = 512
"""Tasks a container may have unless it says otherwise: a fork bomb stays in its container."""


DEFAULT_BRIDGE = "orlop0"
DEFAULT_TABLE = "orlop"
DEFAULT_NFT = Path("/usr/sbin/nft")

MARK_PUBLISHED, MARK_API = 0x6F726C70, 0x6F726C61
"""Marks of the sockets on which an engine listens for others: for published ports, and for its own
API. A firewall of the machine can let them in by that (`socket mark`), whatever their numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """Container networks of an engine."""

    bridge: str = DEFAULT_BRIDGE
    """Interface of the default network."""
    subnet: str = ""
    """Of the default network; empty: the first of the usual pools that is free here. With bits of
    a host it is the bridge's address too."""
    mtu: int = 0
    """Of the default network; 0: 1500."""
    pools: tuple[tuple[str, int], ...] = ()
    """Networks, with the prefix length of the parts that become subnets of networks; empty: the
    usual ones."""
    table: str = DEFAULT_TABLE
    """The nftables table, of family inet, that is the engine's own."""
    nft: Path = DEFAULT_NFT


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Set once when the engine is made.

    *run_dir* is lost at a reboot (tmpfs): state, bundles, named pipes, the runtime's own state.
    *data_dir* may be on a disk: writable layers and logs. *cgroup_root* is the directory in cgroup2
    under which each container gets a cgroup of its name. With *is_pid1* the engine is PID 1 of
    the machine; elsewhere it makes itself a subreaper. With *durable* the records of containers
    are in *data_dir* and outlive a reboot, and each start of the engine applies restart policies.
    """

    run_dir: Path
    data_dir: Path
    images_dir: Path
    store_dir: Path | None = None
    """Images that can be loaded, pulled and built are here; None: those in *images_dir* only."""
    late_store_dir: Path | None = None
    """As *store_dir*, but beside those in *images_dir*, and opened only when it is there."""
    cgroup_root: Path = Path("/sys/fs/cgroup/system")
    runtime: Path = Path("/usr/bin/crun")
    seccomp_profile: Path = Path("/usr/share/containers/seccomp.json")
    init_program: Path = Path("/usr/lib/orlop/container-init")
    """What `--init` puts before a container's command."""
    is_pid1: bool = False
    durable: bool = False
    registries: Registries = field(default_factory=Registries)
    log_limits: LogLimits = field(default_factory=LogLimits)
    pids_limit: int = DEFAULT_PIDS_LIMIT
    defaults: ContainerDefaults = field(default_factory=ContainerDefaults)
    labels: tuple[str, ...] = ()
    """Of the engine, for `docker info`."""
    debug: bool = False
    userns_remap: tuple[int, int] | None = None
    """First number and count of the host's users that those of containers are; None: the same."""
    networks: NetworkSettings | None = None
    """None: `host` and `none` only, and nothing of the host's network is touched."""
    version: str = "0.0.0"
    operating_system: str = "Orlop"
    name: str = ""
    """Host name shown by `docker info`; empty: the kernel's at the time of asking."""
