"""Owners and modes of device nodes, where the kernel's default (root, 0600) is not what is meant.

A table and the function that looks a node up in it. It is short on purpose: system services get
their devices from their definitions, and containers of users get copies of nodes with modes of
their own.
"""

import os
from fnmatch import fnmatchcase
from typing import NamedTuple

TTY_GROUP = 5


class Rule(NamedTuple):
    """Nodes whose path below /dev matches *pattern* get this mode and group; the owner is root."""

    pattern: str
    mode: int
    group: int
    reason: str


RULES = (
    Rule("fuse", 0o666, 0, "mounting through it needs a capability or a user namespace"),
    Rule("net/tun", 0o666, 0, "making an interface needs CAP_NET_ADMIN in the namespace"),
    Rule("kvm", 0o660, 0, "virtual machines are for those that are given the device"),
    Rule("tty[0-9]*", 0o620, TTY_GROUP, "consoles: others may write messages, not read keys"),
    Rule("ttyS[0-9]*", 0o660, TTY_GROUP, "serial lines"),
    Rule("hvc[0-9]*", 0o660, TTY_GROUP, "virtual serial lines"),
)


def rule_for(name: str) -> Rule | None:
    """The last matching rule, so that a general one can come before its exceptions."""
    matching = [rule for rule in RULES if fnmatchcase(name, rule.pattern)]
    return matching[-1] if matching else None


def apply_rule(name: str, root: str = "/dev") -> None:
    """Give the node *name* what the table says, if it says anything and the node exists.

    Raises:
        OSError: the node exists but cannot be changed.
    """
    rule = rule_for(name)
    if rule is None:
        return
    try:
        # O_PATH, so that nothing happens to the device, and a link is not followed.
        descriptor = os.open(f"{root}/{name}", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        path = f"/proc/self/fd/{descriptor}"
        os.chown(path, 0, rule.group)
        os.chmod(path, rule.mode)
    finally:
        os.close(descriptor)
