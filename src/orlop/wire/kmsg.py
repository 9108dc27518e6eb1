"""Records of the kernel's log, as /dev/kmsg gives them. Pure.

Source: Linux 6.12 Documentation/ABI/testing/dev-kmsg.
"""

from __future__ import annotations

RECORD_BYTES = 8192
"""No record is larger, and each read gives one."""


def parse_record(record: str) -> tuple[int, float, str]:
    """Level (0 to 7), seconds since the boot, and text of a record.

    It is `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`, then lines of data. What does not look like
    that is a text of level 6 at 0 s.
    """
    head, _, rest = record.partition(";")
    fields = head.split(",")
    text = rest.split("\n", 1)[0]
    if len(fields) < 3 or not fields[0].isdecimal() or not fields[2].isdecimal():
        return 6, 0.0, text
    return int(fields[0]) & 7, int(fields[2]) / 1e6, text
