"""The tuning table: the file itself, its document, and how PID 1 applies it."""

import json
from pathlib import Path

import pytest

from orlop.image.tuning_table import KINDS, parse, sysctl_path, to_json, to_markdown
from orlop.lib.errors import InvalidArgument
from orlop.system import tuning
from orlop.system.tuning import (
    MIN_FREE,
    Setting,
    apply,
    apply_file,
    expand,
    parse_table,
    resolve_value,
)

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "os/sysctl.toml"
DOCUMENT = ROOT / "docs/tuning.md"

HARDENING = {
    "kernel.kptr_restrict": "2",
    "kernel.dmesg_restrict": "1",
    "kernel.unprivileged_bpf_disabled": "1",
    "kernel.yama.ptrace_scope": "2",
    "kernel.io_uring_disabled": "2",
    "net.core.bpf_jit_harden": "2",
    "fs.protected_regular": "2",
    "net.ipv6.conf.all.accept_ra": "0",
}


def test_the_table_is_sound() -> None:
    table = parse(TABLE.read_text())
    assert {row.kind for row in table.settings} == set(KINDS)
    values = {row.name: row.value for row in table.settings}
    assert HARDENING.items() <= values.items()
    assert "kernel.modules_disabled" in {row.name for row in table.exceptions}


def test_the_document_is_made_from_the_table() -> None:
    assert to_markdown(TABLE.read_text()) in DOCUMENT.read_text()


def test_json_for_pid_1() -> None:
    settings = parse_table(to_json(TABLE.read_text()))
    assert len(settings) == len(parse(TABLE.read_text()).settings)
    assert Setting("/proc/sys/kernel/panic", "10", "safety") in settings
    json.loads(to_json(TABLE.read_text()))


def test_paths() -> None:
    assert sysctl_path("net.ipv4.tcp_rmem") == "/proc/sys/net/ipv4/tcp_rmem"


ROW = 'value = "1"\nkind = "safety"\nreason = "r"\neffect = "e"\n'


@pytest.mark.parametrize(
    "text",
    [
        "[[setting]]\n" + ROW,
        '[[setting]]\nkey = "a.b"\npath = "/sys/x"\n' + ROW,
        '[[setting]]\nkey = "a.b"\nvalue = "1"\nkind = "safety"\neffect = "e"\n',
        '[[setting]]\nkey = "a.b"\n' + ROW.replace("safety", "speed"),
        '[[setting]]\nkey = "a.b"\nextra = 1\n' + ROW,
        '[[setting]]\npath = "/etc/passwd"\n' + ROW,
        '[[setting]]\npath = "/sys/../etc/passwd"\n' + ROW,
        ('[[setting]]\nkey = "a.b"\n' + ROW) * 2,
        '[[exception]]\nkey = "a"\n',
        "[other]\n",
        "not toml",
    ],
)
def test_bad_tables_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="tuning table: "):
        parse(text)


def test_applying(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "block" / name).mkdir(parents=True)
        (tmp_path / "block" / name / "scheduler").write_text("old")
    (tmp_path / "panic").write_text("0")
    failures = apply([
        Setting(f"{tmp_path}/panic", "10", "safety"),
        Setting(f"{tmp_path}/block/*/scheduler", "none", "performance"),
        Setting(f"{tmp_path}/nothing/*/scheduler", "none", "performance"),
        Setting(f"{tmp_path}/missing", "1", "safety"),
        Setting(f"{tmp_path}/optional", "1", "safety", optional=True),
        Setting(f"{tmp_path}/block", "1", "safety"),
    ])  # fmt: skip
    assert (tmp_path / "panic").read_text() == "10"
    assert (tmp_path / "block/a/scheduler").read_text() == "none"[: len("none")]
    assert [failure.split(":")[0] for failure in failures] == [
        f"cannot set {tmp_path}/missing",
        f"cannot set {tmp_path}/block to '1'",
    ]


@pytest.mark.parametrize(
    ("memory_kb", "kbytes"), [(512 << 10, "2896"), (64 << 20, "32768"), (1, "128")]
)
def test_the_reserve_of_memory_follows_the_kernels_rule(
    tmp_path: Path, memory_kb: int, kbytes: str
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: {memory_kb} kB\n")
    assert resolve_value(MIN_FREE, str(meminfo)) == kbytes
    assert resolve_value("1", str(meminfo)) == "1"
    names = [row.name for row in parse(TABLE.read_text()).settings]
    reserve = names.index("vm.min_free_kbytes")
    assert reserve > names.index("/sys/kernel/mm/transparent_hugepage/enabled")


def test_expanding(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").mkdir()
    assert expand(f"{tmp_path}/*") == [f"{tmp_path}/a", f"{tmp_path}/b"]
    assert expand(f"{tmp_path}/c/*") == []


def test_performance_can_be_left_out(tmp_path: Path) -> None:
    for name in ("fast", "safe"):
        (tmp_path / name).write_text("0")
    table = tmp_path / "table.json"
    rows = [
        {"path": f"{tmp_path}/fast", "value": "1", "kind": tuning.PERFORMANCE},
        {"path": f"{tmp_path}/safe", "value": "1", "kind": "safety"},
    ]
    table.write_text(json.dumps({"settings": rows}))
    assert apply_file(False, path=str(table)) == []
    assert (tmp_path / "fast").read_text() == "0"
    assert (tmp_path / "safe").read_text() == "1"


def test_a_broken_table_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("{")
    assert len(apply_file(True, path=str(tmp_path / "t"))) == 1
    assert len(apply_file(True, path=str(tmp_path / "missing"))) == 1


def test_what_the_kernel_was_told_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panic = tmp_path / "panic"
    panic.write_text("60")
    monkeypatch.setattr(tuning, "PARAMETERS", {"panic": str(panic)})
    table = tmp_path / "table.json"
    row = {"path": str(panic), "value": "10", "kind": "safety"}
    table.write_text(json.dumps({"settings": [row]}))
    assert apply_file(True, "quiet panic=60 panics=1", str(table)) == []
    assert panic.read_text() == "60"
    assert apply_file(True, "quiet panic_print=1", str(table)) == []
    assert panic.read_text() == "10"


def test_panic_is_in_the_table() -> None:
    (path,) = tuning.PARAMETERS.values()
    assert path in {setting.path for setting in parse_table(to_json(TABLE.read_text()))}
