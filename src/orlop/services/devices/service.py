"""The device service itself: events in, modules, names and permissions out.

One thread, one poll set: the kernel's event socket, inotify on block devices (whoever writes a file
system on a disk closes it afterwards), a pipe per probe and a pipe that SIGCHLD writes to. Work
that can block is done by children. Losing events is expected (the kernel says ENOBUFS): then
everything is looked at again.
"""

import _socket
import errno
import os
import select
import signal
import sys
import time
from typing import NamedTuple

from orlop.lib.disk_ids import read_text
from orlop.lib.errors import InvalidArgument
from orlop.lib.inotify import InotifyMask, add_watch, open_inotify, read_events, remove_watch
from orlop.services.devices import permissions, probing, sysfs
from orlop.services.devices.links import Links
from orlop.services.devices.modules import ModuleQueue
from orlop.services.devices.names import block_links, encode_label
from orlop.services.devices.superblock import Identity
from orlop.services.devices.sysfs import Node
from orlop.wire.uevent import (
    MAX_MESSAGE_BYTES,
    MULTICAST_GROUP,
    Uevent,
    is_clean_name,
    parse_uevent,
)

NETLINK_KOBJECT_UEVENT = 15
NETLINK_RECEIVE_BYTES = 2 << 20
"""For a burst of some thousand events (a JBOD comes up); the kernel cuts it to
net.core.rmem_max."""

MAX_PROBES = 8
"""At once: enough to keep several disks busy, few enough for the service's limit of processes."""

SETTLE_S = 0.05
"""Events come in bursts; waiting this long turns a burst into one run of the loader."""


class Probe(NamedTuple):
    """A running probe: its process, its device, and when it is given up (CLOCK_MONOTONIC)."""

    process_id: int
    node: Node
    deadline_s: float


class DeviceService:
    """Holds what is going on; `run` never returns."""

    def __init__(self) -> None:
        self._links = Links()
        self._modules = ModuleQueue()
        self._poll = select.poll()
        self._events = open_event_socket()
        self._inotify = open_inotify()
        self._wakeup, wakeup_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_writer, warn_on_full_buffer=False)
        self._waiting: dict[str, Node] = {}
        self._probes: dict[int, Probe] = {}
        self._watches: dict[int, Node] = {}
        self._settled = False
        for descriptor in (self._events.fileno(), self._inotify, self._wakeup):
            self._poll.register(descriptor, select.POLLIN)

    def run(self) -> None:
        self._scan()
        while True:
            self._step()

    def _step(self) -> None:
        ready = dict(self._poll.poll(self._timeout_ms()))
        if self._events.fileno() in ready:
            self._take_events()
        if self._inotify in ready:
            self._take_writes()
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
            self._reap()
        for descriptor in ready.keys() & self._probes.keys():
            self._finish(descriptor, _read_answer(descriptor))
        self._give_up()
        self._start_work()

    def _timeout_ms(self) -> float | None:
        if not self._probes:
            return None
        first = min(probe.deadline_s for probe in self._probes.values())
        return max(0.0, first - time.monotonic()) * 1000 + 1

    def _scan(self) -> None:
        """Look at everything there is: at the start, and when events were lost."""
        self._settled = False
        _make_log_link()
        for name in _existing_nodes():
            _apply_permissions(name)
        for node in sysfs.port_nodes():
            self._name_port(node)
        for node in sysfs.block_nodes():
            self._waiting[node.name] = node
        self._modules.add_all()
        self._start_work()

    def _take_events(self) -> None:
        time.sleep(SETTLE_S)
        while True:
            try:
                message, (sender, _) = self._events.recvfrom(MAX_MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                _say("events were lost, looking at everything again")
                self._scan()
                return
            if sender != 0:
                continue  # not the kernel
            try:
                self._handle(parse_uevent(message))
            except InvalidArgument as error:
                _say(f"{error}, ignoring")

    def _handle(self, event: Uevent) -> None:
        if event.modalias and event.action == "add":
            self._modules.add(event.modalias)
        if not event.devname:
            return
        node = Node(event.devname, sysfs.SYS + event.devpath, event.subsystem)
        if event.action == "remove":
            self._forget(node)
            return
        if event.action == "add":
            _apply_permissions(node.name)
        if node.subsystem == "block":
            self._waiting[node.name] = node
        elif node.subsystem == "virtio-ports":
            self._name_port(node)

    def _forget(self, node: Node) -> None:
        self._waiting.pop(node.name, None)
        for watch in [w for w, watched in self._watches.items() if watched.name == node.name]:
            del self._watches[watch]
            try:
                remove_watch(self._inotify, watch)
            except OSError:
                pass  # gone with the node
        self._set_links(node, [])

    def _name_port(self, node: Node) -> None:
        name = encode_label(read_text(node.syspath, "name").encode(errors="replace"))
        self._set_links(node, [f"virtio-ports/{name}"] if is_clean_name(name) else [])

    def _take_writes(self) -> None:
        for watch, mask, _ in read_events(self._inotify):
            if mask & InotifyMask.Q_OVERFLOW:
                self._scan()
            elif mask & InotifyMask.IGNORED:
                self._watches.pop(watch, None)
            elif watch in self._watches:
                node = self._watches[watch]
                self._waiting[node.name] = node

    def _start_work(self) -> None:
        try:
            self._modules.run()
        except OSError as error:
            _say(f"cannot start the module loader: {error}, ignoring")
        busy = {probe.node.name for probe in self._probes.values()}
        for name in [name for name in self._waiting if name not in busy]:
            if len(self._probes) >= MAX_PROBES:
                return
            self._look_at(self._waiting.pop(name))
        if not self._waiting and not self._probes and not self._settled:
            self._settled = True
            self._links.forget_strangers()

    def _look_at(self, node: Node) -> None:
        """Start a probe of *node*, or name it without one where there is nothing to read."""
        if not sysfs.is_probeable(node):
            self._name_block(node, None)
            return
        path = f"/dev/{node.name}"
        try:
            watch = add_watch(self._inotify, path, InotifyMask.CLOSE_WRITE)
            self._watches[watch] = node
            process_id, reader = probing.start_probe(path, sysfs.size_bytes(node.syspath))
        except OSError as error:
            if error.errno != errno.ENOENT:
                _say(f"cannot look at {path}: {error}, ignoring")
            return
        self._probes[reader] = Probe(process_id, node, time.monotonic() + probing.PROBE_TIMEOUT_S)
        self._poll.register(reader, select.POLLIN)

    def _finish(self, descriptor: int, answer: bytes) -> None:
        self._poll.unregister(descriptor)
        os.close(descriptor)
        self._name_block(self._probes.pop(descriptor).node, probing.decode_answer(answer))

    def _give_up(self) -> None:
        now_s = time.monotonic()
        for descriptor, probe in list(self._probes.items()):
            if probe.deadline_s <= now_s:
                _say(f"/dev/{probe.node.name} does not answer, its content stays unknown")
                os.kill(probe.process_id, signal.SIGKILL)  # ours until reaped, so never another's
                self._finish(descriptor, b"")

    def _name_block(self, node: Node, identity: Identity | None) -> None:
        if os.path.isdir(node.syspath):
            self._set_links(node, block_links(sysfs.block_facts(node, identity)))

    def _set_links(self, node: Node, names: list[str]) -> None:
        try:
            self._links.set(node.name, names)
        except OSError as error:
            _say(f"cannot name /dev/{node.name}: {error}, ignoring")

    def _reap(self) -> None:
        while True:
            try:
                process_id, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process_id == 0:
                return
            if self._modules.ended(process_id) and status != 0:
                _say(f"the module loader ended with {os.waitstatus_to_exitcode(status)}")


def open_event_socket() -> _socket.socket:
    """A socket on which the kernel's events arrive.

    The kernel sends them to all network namespaces.
    """
    kind = _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
    events = _socket.socket(_socket.AF_NETLINK, kind, NETLINK_KOBJECT_UEVENT)
    events.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, NETLINK_RECEIVE_BYTES)
    events.bind((0, MULTICAST_GROUP))
    return events


def _read_answer(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, probing.MAX_ANSWER_BYTES)
    except OSError:
        return b""


def _existing_nodes() -> list[str]:
    """Nodes that the table of permissions may speak of: in /dev and one level below."""
    found: list[str] = []
    for directory in ("/dev", "/dev/net"):
        if os.path.isdir(directory):
            prefix = f"{directory}/".removeprefix("/dev/")
            found += [f"{prefix}{name}" for name in os.listdir(directory)]
    return found


def _apply_permissions(name: str) -> None:
    try:
        permissions.apply_rule(name)
    except OSError as error:
        _say(f"cannot set the permissions of /dev/{name}: {error}, ignoring")


def _make_log_link() -> None:
    """Containers that share the machine's /dev find syslog's socket through this link."""
    try:
        os.symlink("/run/orlop/syslog/log", "/dev/log")
    except FileExistsError:
        pass
    except OSError as error:
        _say(f"cannot make /dev/log: {error}, ignoring")


def _say(text: str) -> None:
    print(f"devices: {text}", file=sys.stderr, flush=True)
