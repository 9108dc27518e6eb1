"""Enter the tool root: a root directory assembled from binds, in namespaces that end with us.

The tool root itself stays as it was made: a tmpfs carries its `/usr` read-only, a copy of its
`/etc` with the host's apt and resolver settings, and the checkout and the cache at their own
paths. Everything is mounted in a private mount namespace, so there is nothing to unmount; processes
live in a PID namespace whose first process the kernel kills when the launcher dies, and then all
of them.

`plan_root` decides, as lines of shell; util-linux does the work. Runs on the host's Python: keep
it to Python 3.11.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/pip/bin"
CARRIED_VARIABLES = ("TERM", "COLUMNS", "LINES", "NO_COLOR", "CI")
CARRIED_PREFIX = "ORLOP_TEST_"
"""How often and how long tests try things: docs/testing.md."""
LINKS = ("bin", "sbin", "lib", "lib64")
HOST_FILES = ("resolv.conf", "hosts")


@dataclass(frozen=True)
class Layout:
    """What the assembled root shows.

    mount_point: an empty directory in the cache, never removed: commands that outlive their
        launcher (`run --detach`) keep their root mounted on it in their own namespace.
    session: this command's own directory; `tmp` and `var-tmp` in it become /tmp and /var/tmp.
    etc: files that go over the tool root's /etc.
    files: files of the host shown at their own paths, as copies.
    visible: directories of the host shown at their own paths, writable.
    build: what becomes /build: where steps work, or where failed ones left their work.
    host_tmp: show the host's /tmp and /var/tmp instead, for what must outlive the session.
    private_processes: a PID namespace, and with it the end of all processes with the launcher.
    """

    toolroot: Path
    mount_point: Path
    cache: Path
    session: Path
    etc: Path
    files: tuple[Path, ...]
    visible: tuple[Path, ...]
    build: Path
    host_tmp: bool = False
    private_processes: bool = True


def plan_root(layout: Layout) -> list[list[str]]:
    """The commands that assemble the root on `layout.mount_point`, in order."""
    root = layout.mount_point
    binds = [
        (layout.cache / "apt" / "state", "/var/lib/apt"),
        (layout.cache / "apt" / "cache", "/var/cache/apt"),
        (layout.build, "/build"),
        (Path("/var/tmp") if layout.host_tmp else layout.session / "var-tmp", "/var/tmp"),
        (Path("/tmp") if layout.host_tmp else layout.session / "tmp", "/tmp"),
        *((path, str(path)) for path in outermost(layout.visible)),
    ]
    copies = [(path, str(path)) for path in layout.files]
    copies += [(Path("/etc", name), f"/etc/{name}") for name in HOST_FILES]
    shared = ["/usr", "/opt", "/var/lib/dpkg"]
    directories = [f"{root}{path}" for path in (*shared, "/proc", "/sys", "/dev", "/run", "/root")]
    directories += [f"{root}{target}" for _, target in binds]
    commands = [["mount", "-t", "tmpfs", "-o", "mode=755", "orlop", str(root)]]
    commands += [["mkdir", "-p", *directories]]
    commands += [["ln", "-s", f"usr/{name}", f"{root}/{name}"] for name in LINKS]
    for path in shared:
        commands += [["mount", "--bind", "-o", "ro", f"{layout.toolroot}{path}", f"{root}{path}"]]
    commands += [["cp", "-a", f"{layout.toolroot}/etc", f"{root}/"]]
    commands += [["rm", "-rf", f"{root}/etc/apt"], ["cp", "-a", f"{layout.etc}/.", f"{root}/etc/"]]
    for source, target in copies:
        if source.exists():
            commands += [["mkdir", "-p", os.path.dirname(f"{root}{target}")]]
            commands += [["cp", "-L", "--remove-destination", str(source), f"{root}{target}"]]
    for source, target in binds:
        # Again, because an earlier bind may have covered the directory made for this one.
        commands += [["mkdir", "-p", f"{root}{target}"]]
        commands += [["mount", "--bind", str(source), f"{root}{target}"]]
    if layout.private_processes:
        commands += [["mount", "-t", "proc", "-o", "nosuid,nodev,noexec", "proc", f"{root}/proc"]]
    else:
        commands += [["mount", "--rbind", "/proc", f"{root}/proc"]]
    for path in ("/sys", "/dev"):
        commands += [["mount", "--rbind", path, f"{root}{path}"]]
    return commands


def outermost(paths: Sequence[Path]) -> list[Path]:
    """*paths* without those that another of them shows already, shortest first.

    A path on another file system than the one that would show it is not shown by that: what is
    mounted where it is comes along.
    """
    kept: list[Path] = []
    for path in sorted(set(paths), key=lambda path: (len(path.parts), path)):
        above = [other for other in kept if path.is_relative_to(other)]
        if path == Path("/"):
            continue
        if not above:
            kept.append(path)
        elif _device(path) not in (None, _device(above[-1])):
            mount = next(place for place in (path, *path.parents) if place.is_mount())
            if mount not in kept:
                kept.append(mount)
    return kept


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None


def script(layout: Layout, cwd: Path, variables: Mapping[str, str], argv: Sequence[str]) -> str:
    """The shell script that assembles the root and becomes *argv* in it."""
    lines = ["set -eu", *(shlex.join(command) for command in plan_root(layout))]
    lines += [
        f"cd {shlex.quote(str(layout.mount_point))}",
        # pivot_root rather than chroot alone: a chrooted process may not make user namespaces.
        # Where the kernel refuses (the host's root is its initramfs), chroot does.
        "if pivot_root . . 2>/dev/null; then umount -l .; fi",
    ]
    settings = [f"{name}={value}" for name, value in sorted(variables.items())]
    # tini is the first process of the PID namespace: it reaps orphans and passes signals on.
    init = ["/usr/bin/tini", "-g", "--"] if layout.private_processes else []
    command = ["/usr/bin/env", "-i", "-C", str(cwd), *settings, *init, *argv]
    lines += [f"exec chroot . {shlex.join(command)}"]
    return "\n".join(lines) + "\n"


def namespaces(*, root: bool, private_processes: bool) -> list[str]:
    """The prefix of a command that gives it its namespaces.

    The kernel kills it with SIGKILL when the launcher dies, by parent-death signals: setpriv sets
    the one of unshare, and --kill-child the one of unshare's child. Without *private_processes*
    the command is the launcher's own process and lives as long as it likes.
    """
    if not private_processes:
        user = [] if root else ["--map-root-user", "--map-auto"]
        return ["unshare", *user, "--mount", "--propagation", "private"]
    # A new user namespace clears the death signal, so it is entered first, by the same process.
    user = [] if root else ["unshare", "--map-root-user", "--map-auto"]
    return [
        *user,
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"),
    ]


def variables(layout: Layout, checkout: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment inside: fixed, but for the terminal and where things are."""
    carried = {name: environ[name] for name in CARRIED_VARIABLES if name in environ}
    # Proxies apply to apt's and pip's downloads inside as they do outside.
    carried |= {
        name: value
        for name, value in environ.items()
        if name.lower().endswith("_proxy") or name.startswith(CARRIED_PREFIX)
    }
    return carried | {
        "HOME": environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
        "PATH": SEARCH_PATH,
        "PYTHONPATH": str(checkout / "src"),
        "PYTHONPYCACHEPREFIX": str(layout.cache / "pycache"),
        "ORLOP_CACHE": str(layout.cache),
        "ORLOP_CHECKOUT": str(checkout),
        "ORLOP_SESSION": layout.session.name,
        "ORLOP_TOOLROOT": str(layout.toolroot),
    }
