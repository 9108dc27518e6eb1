"""Choosing the state partition, and looking at devices without trusting them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from orlop.lib.blocking import run_bounded
from orlop.lib.children import ExitStatus
from orlop.lib.mount import MountEntry
from orlop.system.parameters import parse_parameters
from orlop.system.storage import block_devices, state, tpm_lock
from orlop.system.storage.block_devices import Volume, candidates, probe, read_volume
from orlop.system.storage.disk_references import Names
from orlop.system.storage.state import Choice, choose
from orlop.system.storage.superblock import Superblock
from tests.unit.system.test_superblock import UUID_TEXT, ext4

if TYPE_CHECKING:
    from orlop.lib.children import Children


@pytest.fixture(autouse=True)
def no_tpm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of the machine that runs the tests."""
    monkeypatch.setattr(tpm_lock, "DEVICE", "/none")


def volume(device: str, label: str = "", uuid: str = "u") -> Volume:
    return Volume(device, Superblock("ext4", label, uuid))


VOLUMES = [
    volume("/dev/vda1", "BOOT"),
    volume("/dev/vda2", "ORLOP_STATE", "abc"),
    volume("/dev/vdb", "ORLOP_STATE", "def"),
]


def test_by_label_uuid_and_device() -> None:
    assert choose("LABEL=BOOT", VOLUMES).volume == VOLUMES[0]
    assert choose("UUID=DEF", VOLUMES).volume == VOLUMES[2]
    assert choose("/dev/vdb", VOLUMES).volume == VOLUMES[2]
    assert choose("LABEL=NONE", VOLUMES).volume is None
    assert choose("LABEL=BOOT", VOLUMES, fstype="xfs").volume is None


def test_by_the_disk_it_is_on() -> None:
    names = {
        "/dev/vda1": Names(1, "boot", "p1", "one"),
        "/dev/vda2": Names(2, "state", "p2", "one"),
        "/dev/vdb": Names(0, serial="two"),
    }
    assert choose("SERIAL=one", VOLUMES, names) == Choice(VOLUMES[1])  # by its label
    assert choose("SERIAL=two", VOLUMES, names) == Choice(VOLUMES[2])
    assert choose("PARTLABEL=boot", VOLUMES, names) == Choice(VOLUMES[0])
    assert choose("PARTUUID=P2", VOLUMES, names) == Choice(VOLUMES[1])
    assert choose("SERIAL=three", VOLUMES, names).volume is None


def test_what_cannot_be_mounted_is_not_chosen() -> None:
    swap = Volume("/dev/vdc", Superblock("swap", "ORLOP_STATE", "x"))
    assert choose("LABEL=ORLOP_STATE", [swap]).volume is None


@pytest.mark.parametrize(
    ("mounted", "expected"),
    [
        ([("/var", "ext4", "/dev/vdz1")], ("disk", "/var", "/dev/vdz1")),
        (
            [("/run/orlop/state", "ext4", "/dev/vdz1"), ("/var", "tmpfs", "tmpfs")],
            ("memory", "/run/orlop/state/sub", "/dev/vdz1"),
        ),
        ([("/var", "tmpfs", "tmpfs")], ("memory", "/var", "")),
        ([("/var", "tmpfs", "tmpfs"), ("/var", "xfs", "/dev/vdz1")], ("disk", "/var", "/dev/vdz1")),
    ],
)
def test_the_state_after_a_reexecution(
    monkeypatch: pytest.MonkeyPatch,
    mounted: list[tuple[str, str, str]],
    expected: tuple[str, str, str],
) -> None:
    """Also that of a disk that can only be read: the keys to log in with are on it."""
    entries = [MountEntry(Path(target), kind, of, frozenset()) for target, kind, of in mounted]
    monkeypatch.setattr(state, "read_mounts", lambda: entries)
    found = asyncio.run(state.present("sub"))
    assert (found.mode, found.root, found.device) == expected


def test_an_engine_without_the_state_it_needs() -> None:
    required = parse_parameters("orlop.state.required")
    assert state.withheld(state.State("disk"), required) == {}
    assert state.withheld(state.State("memory"), parse_parameters("")) == {}
    assert [*state.withheld(state.State("memory"), required)] == ["engine"]


def test_a_refusal_ends_the_waiting() -> None:
    assert not Choice(None).is_final
    assert Choice(None, ("the disk is not empty",)).is_final


def test_two_of_the_same_label_are_reported() -> None:
    choice = choose("LABEL=ORLOP_STATE", VOLUMES)
    assert choice.volume == VOLUMES[1]
    assert len(choice.warnings) == 1
    assert "/dev/vda2, /dev/vdb" in choice.warnings[0]


def test_candidates_in_stable_order(tmp_path: Path) -> None:
    for name in ("sdb", "sda10", "sda2", "loop0", "sr0", "ram1", "zram0", "nvme0n1p1", "dm-0"):
        (tmp_path / name).mkdir()
    assert candidates(str(tmp_path)) == ["sdb", "dm-0", "sda2", "sda10", "nvme0n1p1"]
    assert candidates(str(tmp_path / "missing")) == []


def test_probe_skips_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "sda").write_bytes(bytes(ext4()))
    (tmp_path / "sdb").write_bytes(b"nothing")
    (tmp_path / "c0").mkdir()
    (tmp_path / "c0/d0").write_bytes(bytes(ext4(b"SLASH")))
    found = asyncio.run(probe(["sda", "sdb", "sdc", "c0!d0"], str(tmp_path)))
    assert [(item.device, item.superblock.label) for item in found] == [
        (f"{tmp_path}/sda", "ORLOP_STATE"),
        (f"{tmp_path}/c0/d0", "SLASH"),
    ]
    assert found[0].superblock.uuid == UUID_TEXT
    assert read_volume(str(tmp_path)) is None


def test_a_silent_disk_delays_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    release = threading.Event()

    def read(device: str) -> Volume | None:
        if device.endswith("bad"):
            release.wait()
        return volume(device)

    monkeypatch.setattr(block_devices, "read_volume", read)
    monkeypatch.setattr(block_devices, "PROBE_TIMEOUT_S", 0.05)
    try:
        assert asyncio.run(probe(["bad", "good"], "/d")) == [volume("/d/good")]
    finally:
        release.set()


def test_a_disk_that_falls_silent_after_its_mount(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import threading

    (tmp_path / "tpm").touch()  # it takes no commands
    monkeypatch.setattr(tpm_lock, "DEVICE", str(tmp_path / "tpm"))

    release = threading.Event()
    monkeypatch.setattr(state, "make_directory", lambda _: release.wait())
    monkeypatch.setattr(state, "mount_one", lambda _: None)
    monkeypatch.setattr(state, "MOUNT_TIMEOUT_S", 0.05)
    try:
        found = asyncio.run(
            state.mount_state(Choice(None), cast("Children", None), parse_parameters(""))
        )
    finally:
        release.set()
    assert found.mode == "memory"
    assert found.warnings[0] == "the TPM cannot be told that the state is open: it refuses"
    assert "no answer within" in found.warnings[1]


def test_bounded_calls() -> None:
    def fail() -> None:
        raise OSError(5, "broken")

    async def scenario() -> None:
        assert await run_bounded(lambda: 7, 5) == 7
        with pytest.raises(OSError, match="broken"):
            await run_bounded(fail, 5)

    asyncio.run(scenario())


def test_a_check_that_cannot_be_killed_does_not_stop_the_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DeadDisk:
        async def run(self, argv: list[str], *, timeout_s: float) -> None:
            assert argv[1:] == ["-p", "/dev/dead"]
            await asyncio.Event().wait()

    checker = tmp_path / "e2fsck"
    checker.touch()
    monkeypatch.setattr(state, "CHECKER", str(checker))
    monkeypatch.setattr(state, "CHECK_TIMEOUT_S", 0.01)
    monkeypatch.setattr(state, "CHECK_KILL_S", 0.01)
    children = cast("Children", DeadDisk())
    assert asyncio.run(state._check(volume("/dev/dead"), children)) == [
        "checking /dev/dead: no answer within 0.01 s"
    ]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([0], []),
        ([1], ["/dev/torn had errors, which e2fsck has mended"]),
        ([4], ["/dev/torn has errors that e2fsck does not mend by itself"]),
        ([8, 1], ["/dev/torn had errors, which e2fsck has mended"]),
        ([8, 8], ["/dev/torn has errors that e2fsck does not mend by itself"]),
    ],
)
def test_a_torn_superblock_is_mended_from_its_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[int], said: list[str]
) -> None:
    asked: list[str] = []

    class Checker:
        async def run(self, argv: list[str], *, timeout_s: float) -> tuple[ExitStatus, bytes]:
            asked.append(argv[1])
            return ExitStatus(code=answers[len(asked) - 1]), b""

    (tmp_path / "e2fsck").touch()
    monkeypatch.setattr(state, "CHECKER", str(tmp_path / "e2fsck"))
    children = cast("Children", Checker())
    assert asyncio.run(state._check(volume("/dev/torn"), children)) == said
    assert asked == ["-p", "-y"][: len(answers)]


@pytest.mark.parametrize("inner", ["swap", "linux_raid_member"])
def test_what_is_no_file_system_in_an_encrypted_disk_does_not_stop_the_boot(
    monkeypatch: pytest.MonkeyPatch, inner: str
) -> None:
    from orlop.system.storage import unlocking

    async def unlock(*_: object, sealed: bool) -> tuple[str, list[str]]:
        return "/dev/mapper/orlop-state", []

    async def found(_: list[str]) -> list[Volume]:
        return [Volume("/dev/mapper/orlop-state", Superblock(inner, "", ""))]

    monkeypatch.setattr(unlocking, "unlock", unlock)
    monkeypatch.setattr(block_devices, "probe", found)
    said = mounted_state(monkeypatch)
    assert said.mode == "memory"
    assert f"is {inner}, which is no state" in said.warnings[0]


@pytest.mark.parametrize(
    ("inside", "mounted"),
    [
        ([("ext4", "OTHER"), ("ext4", "ORLOP_STATE")], "/dev/dm-2"),
        ([("swap", ""), ("ext4", "")], "/dev/dm-2"),
        ([("swap", "")], ""),
        ([], ""),
    ],
)
def test_a_volume_group_in_an_encrypted_disk(
    monkeypatch: pytest.MonkeyPatch, inside: list[tuple[str, str]], mounted: str
) -> None:
    from orlop.system.storage import assembly, unlocking

    volumes = [
        Volume(f"/dev/dm-{number}", Superblock(*names, "u"))
        for number, names in enumerate(inside, 1)
    ]
    used: list[str] = []

    async def unlock(*_: object, sealed: bool) -> tuple[str, list[str]]:
        return "/dev/mapper/orlop-state", []

    async def found(_: list[str]) -> list[Volume]:
        return [Volume("/dev/mapper/orlop-state", Superblock("LVM2_member", "", ""))]

    async def open_group(*_: object) -> list[Volume]:
        return volumes

    async def mount_disk(chosen: Volume, *_: object) -> None:
        used.append(chosen.device)

    monkeypatch.setattr(unlocking, "unlock", unlock)
    monkeypatch.setattr(block_devices, "probe", found)
    monkeypatch.setattr(assembly, "open_group", open_group)
    monkeypatch.setattr(state, "_mount_disk", mount_disk)
    said = mounted_state(monkeypatch)
    assert used == ([mounted] if mounted else [])
    assert ("which is no state" in "".join(said.warnings)) == (not mounted)


def test_no_mistake_in_opening_a_disk_stops_the_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    from orlop.system.storage import unlocking

    async def unlock(*_: object, sealed: bool) -> tuple[str, list[str]]:
        raise ValueError("something nobody thought of")

    monkeypatch.setattr(unlocking, "unlock", unlock)
    assert "nobody thought of" in mounted_state(monkeypatch).warnings[0]


@pytest.mark.parametrize("words", ["orlop.state.sealed", ""])
def test_a_plain_disk_is_no_state_where_that_has_to_be_sealed(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    mounted: list[str] = []

    async def mount_disk(chosen: Volume, *_: object) -> None:
        mounted.append(chosen.device)

    monkeypatch.setattr(state, "_mount_disk", mount_disk)
    said = mounted_state(monkeypatch, "ext4", words)
    assert mounted == ([] if words else ["/dev/vda"])
    assert [text for text in said.warnings if "is not encrypted and is not used" in text] == (
        list(said.warnings) if words else []
    )


def mounted_state(
    monkeypatch: pytest.MonkeyPatch, fstype: str = "crypto_LUKS", words: str = ""
) -> state.State:
    """What comes of a disk."""
    monkeypatch.setattr(state, "mount_one", lambda _: None)
    monkeypatch.setattr(state, "_make_directories", list)
    locked = Choice(Volume("/dev/vda", Superblock(fstype, "ORLOP_STATE", "u")))
    children = cast("Children", None)
    return asyncio.run(state.mount_state(locked, children, parse_parameters(words)))
