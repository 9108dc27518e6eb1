"""The kernel command line: what is read, what is reported, and that the document lists it all."""

from pathlib import Path

import pytest

from orlop.system.parameters import (
    PARAMETERS,
    Parameters,
    configuration_words,
    kernel_consoles,
    parse_parameters,
    split_command_line,
)

DOCUMENT = Path(__file__).parents[3] / "docs/kernel-parameters.md"


def test_nothing_asked() -> None:
    assert parse_parameters("quiet root=/dev/sda1 console=ttyS0") == Parameters()


def test_every_key() -> None:
    found = parse_parameters(
        'orlop.debug orlop.state=LABEL="MY DISK" orlop.state.wait=30 orlop.recovery=off '
        "orlop.hostname=ship-1.example orlop.console=tty1,ttyS0 orlop.services.disable=ssh,time "
        "orlop.services.disable=power orlop.tuning=off orlop.watchdog=0 orlop.shutdown.timeout=5"
    )
    assert found.warnings == ()
    assert found.debug
    assert found.state == "LABEL=MY DISK"
    assert found.state_wait_s == 30
    assert not found.recovery
    assert found.hostname == "ship-1.example"
    assert found.consoles == ("tty1", "ttyS0")
    assert found.disabled_services == ("ssh", "time", "power")
    assert not found.tuning
    assert found.watchdog_s == 0
    assert found.shutdown_s == 5
    assert dict(found.values)["orlop.state"] == "LABEL=MY DISK"


def test_state_and_the_words_of_rancheros() -> None:
    ours = parse_parameters(
        "orlop.state=SERIAL=a orlop.state.autoformat orlop.state.fstype=xfs "
        "orlop.state.directory=/x/y/ orlop.state.required"
    )
    assert ours.warnings == ()
    assert ours.autoformat == ("SERIAL=a",)
    assert (ours.state_fstype, ours.state_directory) == ("xfs", "x/y")
    assert ours.state_required
    line = (
        "rancher.state.dev=LABEL=RANCHER_STATE rancher.state.wait rancher.state.directory=sub "
        "rancher.state.autoformat=[/dev/disk/by-id/virtio-a,SERIAL=b] rancher.state.fstype=auto"
    )
    theirs = parse_parameters(line)
    assert theirs.state == "LABEL=RANCHER_STATE"
    assert theirs.autoformat == ("/dev/disk/by-id/virtio-a", "SERIAL=b")
    assert theirs.state_wait_s == 10
    assert theirs.state_directory == "sub"
    assert len(theirs.warnings) == 5
    assert "kernel parameter rancher.state.dev is called orlop.state here" in theirs.warnings
    assert configuration_words(line) == []


@pytest.mark.parametrize("disk", ["[/dev/sda,/dev/vda]", "/dev/sda", "LABEL=x", "sda"])
def test_no_disk_is_formatted_for_where_it_is(disk: str) -> None:
    found = parse_parameters(f"rancher.state.autoformat={disk}")
    assert found.autoformat == ()
    assert "only a disk that is named by SERIAL=" in found.warnings[0]


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("orlop.state.directory=..", "kernel parameter orlop.state.directory=..: must be a dir"),
        ("orlop.state.fstype=zfs", "kernel parameter orlop.state.fstype=zfs: must be auto"),
        ("orlop.state=sda1", "kernel parameter orlop.state=sda1: must be none"),
        ("orlop.watchdog=-1", "kernel parameter orlop.watchdog=-1: must be a number"),
        ("orlop.hostname=-a", "kernel parameter orlop.hostname=-a: must be a host name"),
        ("orlop.debug=maybe", "kernel parameter orlop.debug=maybe: must be on or off"),
    ],
)
def test_reported_never_ignored_silently(line: str, warning: str) -> None:
    found = parse_parameters(line)
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(warning)


def test_a_bad_value_leaves_the_default() -> None:
    assert parse_parameters("orlop.watchdog=soon").watchdog_s == Parameters().watchdog_s


def test_words_of_the_configuration() -> None:
    line = "quiet orlop.debug orlop.debugg rancher.x=[a] cc.hostname=b orlopx=1 -- orlop.y"
    assert configuration_words(line) == [
        ("orlop.debugg", None),
        ("rancher.x", "[a]"),
        ("cc.hostname", "b"),
    ]


def test_splitting() -> None:
    assert split_command_line('a b=c d="e f" "g=h i" j= -- k=l') == [
        ("a", None),
        ("b", "c"),
        ("d", "e f"),
        ("g", "h i"),
        ("j", ""),
    ]
    assert split_command_line("  \n") == []


def test_kernel_consoles() -> None:
    assert kernel_consoles("console=tty0 console=ttyS0,115200n8 quiet") == ("tty0", "ttyS0")


def test_document_has_every_row() -> None:
    text = DOCUMENT.read_text()
    for row in PARAMETERS:
        line = f"| `orlop.{row.key}` | {row.form} | {row.default} | {row.what} |"
        assert line in text, f"{DOCUMENT.name} lacks: {line}"
    documented = [line for line in text.splitlines() if line.startswith("| `orlop.")]
    assert len(documented) == len(PARAMETERS)


def test_what_is_hidden_from_us_is_named_without_its_value() -> None:
    found = parse_parameters("quiet -- rancher.password=secret single cc.hostname=x\n")
    assert found.warnings == (
        "kernel parameters behind -- are not read: rancher.password, cc.hostname",
    )
    assert parse_parameters("quiet -- single").warnings == ()
