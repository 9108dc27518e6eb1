"""The index of kernel modules, and the loader in C that reads it, on a small tree of files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from orlop.image import module_index
from orlop.image.module_index import Module, format_index, section_key
from orlop.lib.errors import InvalidArgument

SOURCES = Path(__file__).parents[3] / "os/init"
RELEASE = "6.12.0-test"

DEPENDENCIES = """\
kernel/drivers/net/e1000.ko:
kernel/drivers/scsi/host-raid.ko: kernel/drivers/scsi/sas.ko kernel/lib/raid-attrs.ko
kernel/drivers/scsi/sas.ko: kernel/lib/raid-attrs.ko
kernel/lib/raid-attrs.ko:
kernel/lib/fast-sum.ko:
kernel/fs/fat/vfat.ko: kernel/fs/fat/fat.ko
kernel/fs/fat/fat.ko:
kernel/drivers/virtio/child.ko:
"""
ALIASES = """\
# Aliases extracted from modules themselves.
alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000
alias pci:v00001000d0000009[67]sv*sd*bc*sc*i* host_raid
alias acpi*:QEMU0002:* child
alias fs-vfat vfat
alias dmi*:svnACME*:pnBox-1* child
alias crypto-crc32c fast_sum
"""
SOFT = "softdep e1000 pre: fast-sum absent\nsoftdep vfat post: child\n"


@pytest.fixture(scope="module")
def modload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    assert compiler is not None, "the tests need a C compiler"
    program = tmp_path_factory.mktemp("modload") / "modload"
    files = [SOURCES / name for name in ("usermode-helper.c", "modload.c", "modules.c")]
    warnings = ["-Wall", "-Wextra", "-Werror"]
    checks = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    subprocess.run(
        [compiler, "-std=c11", "-g", *warnings, *checks, "-o", program, *files], check=True
    )
    return program


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory with an index, and no devices yet."""
    directory = tmp_path / "usr/lib/modules" / RELEASE
    directory.mkdir(parents=True)
    (directory / "modules.dep").write_text(DEPENDENCIES)
    (directory / "modules.alias").write_text(ALIASES)
    (directory / "modules.softdep").write_text(SOFT)
    index = module_index.read_index_sources(directory)
    (directory / "modules.index").write_text(index)
    return tmp_path


def add_device(root: Path, bus: str, name: str, modalias: str) -> None:
    directory = root / "sys/bus" / bus / "devices" / name
    directory.mkdir(parents=True)
    (directory / "modalias").write_text(modalias + "\n")


def run(program: Path, root: Path, *words: str, stdin: str = "") -> tuple[int, list[str]]:
    """Exit status, and the names of the modules in the order in which they would be loaded."""
    done = subprocess.run(
        [program, "--root", root, "--release", RELEASE, "--dry-run", *words],
        input=stdin.encode(),
        capture_output=True,
        check=False,
    )
    return done.returncode, [Path(line).stem for line in done.stdout.decode().splitlines()]


def test_needs_come_in_load_order_with_soft_dependencies_first() -> None:
    modules = module_index.parse_dependencies(DEPENDENCIES)
    soft = module_index.parse_soft_dependencies(SOFT)
    by_name = {m.name: m for m in module_index.with_soft_dependencies(modules, soft)}
    assert by_name["host_raid"].needs == ("raid_attrs", "sas")
    assert by_name["e1000"].needs == ("fast_sum",)
    assert by_name["vfat"].needs == ("fat",)


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("pci:v00008086d*", "pci"),
        ("acpi*:PNP0C0A:*", "acpi"),
        ("fs-vfat", "-"),
        ("snd_*_codec", "*"),
        ("*:everything", "*"),
        ("i[2c]c:x", "*"),
    ],
)
def test_aliases_are_filed_by_bus(pattern: str, key: str) -> None:
    assert section_key(pattern) == key


def test_index_says_how_long_its_sections_are() -> None:
    text = format_index([Module("b", "b.ko", ("a",)), Module("a", "a.ko")], [("x:1", "b")])
    assert text == "orlop-modules 1\na a.ko\nb b.ko 0\n\n@x 6\n1 x:1\n"


@pytest.mark.parametrize(
    ("modules", "aliases"),
    [
        ([Module("a", "a.ko", ("gone",))], []),
        ([Module("a", "a.ko")], [("x:1", "gone")]),
        ([Module("a", "a.ko"), Module("a", "other/a.ko")], []),
        ([Module("a", "a.ko")], [("x:" + "1" * 600, "a")]),
    ],
)
def test_what_the_loader_would_refuse_is_refused_at_build(
    modules: list[Module], aliases: list[tuple[str, str]]
) -> None:
    with pytest.raises(InvalidArgument):
        format_index(modules, aliases)


def test_module_is_loaded_after_what_it_needs(modload: Path, root: Path) -> None:
    assert run(modload, root, "host-raid") == (0, ["raid-attrs", "sas", "host-raid"])


def test_alias_names_a_module(modload: Path, root: Path) -> None:
    assert run(modload, root, "fs-vfat") == (0, ["fat", "vfat"])


def test_command_line_gives_parameters(modload: Path, root: Path) -> None:
    (root / "proc").mkdir()
    words = "quiet raid-attrs.level=5 host_raid.depth=8 e1000.x raid_attrs.slow sas= raid_attrs"
    (root / "proc/cmdline").write_text(words + "\n")
    done = subprocess.run(
        [modload, "--root", root, "--release", RELEASE, "--dry-run", "host-raid"],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().splitlines() == [
        "kernel/lib/raid-attrs.ko level=5 slow",
        "kernel/drivers/scsi/sas.ko",
        "kernel/drivers/scsi/host-raid.ko depth=8",
    ]


def test_who_loads_gives_parameters_too(modload: Path, root: Path) -> None:
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text("host_raid.depth=8\n")
    parameters = ["host-raid.depth=4", "raid_attrs.level=5", "host-raid.mode=a,b=c"]
    done = subprocess.run(
        [modload, "--root", root, "--release", RELEASE, "--dry-run", "host-raid", *parameters],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().splitlines() == [
        "kernel/lib/raid-attrs.ko level=5",
        "kernel/drivers/scsi/sas.ko",
        "kernel/drivers/scsi/host-raid.ko depth=4 mode=a,b=c depth=8",
    ]
    assert run(modload, root, "e1000", "e1000.list=" + "1," * 5000) == (1, [])


def test_parameters_that_do_not_fit_fail_the_module(modload: Path, root: Path) -> None:
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text("e1000.list=" + "1," * 600)
    assert run(modload, root, "e1000") == (1, ["fast-sum"])


def test_unknown_name_is_a_failure(modload: Path, root: Path) -> None:
    assert run(modload, root, "fs-ntfs") == (1, [])


@pytest.mark.parametrize("name", ["../evil", "a b", "", "x" * 600])
def test_strange_names_are_not_looked_up(modload: Path, root: Path, name: str) -> None:
    assert run(modload, root, name) == (1, [])


def test_coldplug_loads_for_every_device_once(modload: Path, root: Path) -> None:
    add_device(root, "pci", "0000:00:03.0", "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00")
    add_device(root, "pci", "0000:00:04.0", "pci:v00001000d00000097sv00001000sd0bc01sc07i00")
    add_device(root, "pci", "0000:00:05.0", "pci:v00001000d00000098sv00001000sd0bc01sc07i00")
    add_device(root, "acpi", "QEMU0002:00", "acpi:QEMU0002:")
    add_device(root, "memory", "memory0", "pci:v00001000d00000096sv0")
    status, names = run(modload, root, "coldplug")
    assert status == 0
    assert sorted(names) == sorted(["fast-sum", "e1000", "raid-attrs", "sas", "host-raid", "child"])
    assert names.index("sas") < names.index("host-raid")


def test_machine_without_devices_loads_nothing(modload: Path, root: Path) -> None:
    assert run(modload, root, "coldplug") == (0, [])


def test_hot_plug_reads_lines_and_skips_long_ones(modload: Path, root: Path) -> None:
    lines = "x:" + "9" * 2000 + "\npci:nothing\ndmi:bvnX:svnACME:pnBox_1:\nfs-vfat\nfs-vfat\n"
    status, names = run(modload, root, "stdin", stdin=lines)
    assert (status, names) == (0, ["child", "fat", "vfat"])


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"orlop-modules 2\n\n",
        b"orlop-modules 1\n",
        b"orlop-modules 1\na a.ko\n",
        b"orlop-modules 1\na a.ko\n\n@pci 100\n0 pci:x\n",
        b"orlop-modules 1\na a.ko\n\n@pci -1\n",
        b"orlop-modules 1\na a.ko\n\npci 8\n0 pci:x\n",
        b"orlop-modules 1\na a.ko\n\n@pci 8\n0 pci:x",
        b"orlop-modules 1\n" + b"a a.ko\n" * 1025 + b"\n",
    ],
)
def test_damaged_index_is_refused(modload: Path, root: Path, damage: bytes) -> None:
    (root / "usr/lib/modules" / RELEASE / "modules.index").write_bytes(damage)
    assert run(modload, root, "coldplug") == (1, [])


def test_numbers_out_of_range_are_not_followed(modload: Path, root: Path) -> None:
    index = root / "usr/lib/modules" / RELEASE / "modules.index"
    index.write_bytes(b"orlop-modules 1\na a.ko 7\n\n@x 12\n9 x:1\n0 x:2\n")
    assert run(modload, root, "stdin", stdin="x:1\nx:2\n") == (1, [])


def test_kernel_may_ask_for_nothing_else(modload: Path) -> None:
    for words in (["/bin/sh", "-c", "id"], ["/sbin/modprobe", "-r", "--", "x"], ["core", "%p"]):
        done = subprocess.run(words, executable=modload, check=False)
        assert done.returncode == 1
