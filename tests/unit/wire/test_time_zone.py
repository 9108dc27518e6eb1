"""Time zones: what is made of the rule of a real file is read as the real file is."""

import io
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.time_zone import UTC as UTC_RULE
from orlop.wire.time_zone import parse_table, rule_of, tzif

ZONES = ("Europe/Oslo", "America/St_Johns", "Asia/Kolkata", "Pacific/Chatham", "Etc/UTC")
MOMENTS = [datetime(2026, month, 15, 12, tzinfo=UTC) for month in (1, 4, 7, 10)]


@pytest.mark.parametrize("name", ZONES)
def test_present_times_are_the_same(name: str, tmp_path: Path) -> None:
    source = Path("/usr/share/zoneinfo", name)
    rule = rule_of(source.read_bytes())
    made = tmp_path / "localtime"
    made.write_bytes(tzif(rule))
    assert made.stat().st_size < 300
    ours, real = ZoneInfo.from_file(io.BytesIO(tzif(rule))), ZoneInfo(name)
    for moment in MOMENTS:
        assert moment.astimezone(ours).isoformat() == moment.astimezone(real).isoformat()
        command = ["date", f"--date=@{moment.timestamp():.0f}", "+%F %T %z %Z"]
        shown = [
            subprocess.run(command, env={"TZ": f":{path}"}, capture_output=True, check=True).stdout
            for path in (made, source)
        ]
        assert shown[0] == shown[1]


def test_what_is_no_zone() -> None:
    assert rule_of(b"# a table\n") == rule_of(b"TZif2") == rule_of(b"TZif2\n\n") == ""
    assert tzif(UTC_RULE).endswith(b"\nUTC0\n")
    for rule in ("", "CET", "CET-1\n", "A-1", "CET-1;rm"):
        with pytest.raises(InvalidArgument):
            tzif(rule)
    assert parse_table("A/B CET-1\nbroken\nC UTC0\n") == {"A/B": "CET-1", "C": "UTC0"}
