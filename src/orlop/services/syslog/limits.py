"""Who sent a message, and how much of it we take.

Every sender (a container, or the machine outside of containers) has a bucket of its own: BURST
messages at once, PER_SECOND on average. What is over is counted and said once, so that a program
that logs in a loop costs neither the disk nor the messages of others.
"""

import os
from typing import NamedTuple

BURST = 2000
PER_SECOND = 200
MAX_SENDERS = 1024
"""Buckets kept. With more at once, the one that was silent longest starts anew."""

UNKNOWN_SENDER = "-"


class Verdict(NamedTuple):
    """Whether to take a message, and how many of its sender were dropped since the last one
    taken."""

    accepted: bool
    dropped_before: int


class _Bucket:
    __slots__ = ("dropped", "filled_s", "tokens")

    def __init__(self, now_s: float) -> None:
        self.tokens = float(BURST)
        self.filled_s = now_s
        self.dropped = 0


class RateLimit:
    """The buckets of all senders. Times are CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def check(self, sender: str, now_s: float) -> Verdict:
        """Count one message of *sender* at *now_s*."""
        bucket = self._buckets.pop(sender, None)
        if bucket is None:
            bucket = self._make(now_s)
        self._buckets[sender] = bucket  # the least recently seen comes first
        elapsed_s = max(0.0, now_s - bucket.filled_s)
        bucket.tokens = min(float(BURST), bucket.tokens + elapsed_s * PER_SECOND)
        bucket.filled_s = now_s
        # After a drop, wait for a tenth of the bucket: one notice per message would be worse.
        needed = 1.0 if not bucket.dropped else BURST / 10
        if bucket.tokens < needed:
            bucket.dropped += 1
            return Verdict(False, 0)
        dropped, bucket.dropped = bucket.dropped, 0
        bucket.tokens -= 1
        return Verdict(True, dropped)

    def _make(self, now_s: float) -> _Bucket:
        if len(self._buckets) >= MAX_SENDERS:
            del self._buckets[next(iter(self._buckets))]
        return _Bucket(now_s)


def container_of(process_id: int, proc: str = "/proc") -> str:
    """The container in which the process is, from its cgroup; `-` if it is gone or in none.

    The kernel vouches for the process id. One that ended meanwhile may have been replaced by a
    stranger, which would only put a wrong name beside the message.
    """
    try:
        descriptor = os.open(f"{proc}/{process_id}/cgroup", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return UNKNOWN_SENDER
    try:
        data = os.read(descriptor, 4096)
    except OSError:
        return UNKNOWN_SENDER
    finally:
        os.close(descriptor)
    return parse_container(data)


def parse_container(cgroups: bytes) -> str:
    """The container's name from /proc/PID/cgroup: the part after `system/` or `user/`, or the last
    one.

    Seen from inside another container the path is relative (`/../time`), so only its end is sure.
    """
    for line in cgroups.decode(errors="replace").splitlines():
        if line.startswith("0::"):
            parts = [
                part for part in line[3:].split("/") if part not in ("", "..", "system", "user")
            ]
            return parts[0][:128] if parts else UNKNOWN_SENDER
    return UNKNOWN_SENDER
