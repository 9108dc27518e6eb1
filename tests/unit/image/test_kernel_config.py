"""Reading fragments, and comparing what was asked for with what the kernel's tools made of it."""

from pathlib import Path

import pytest

from orlop.image import hardening, kernel_config
from orlop.image.kernel_config import check_kept, merged, parse_config, parse_fragment
from orlop.lib.errors import InvalidArgument

CHECKOUT = Path(__file__).parents[3]

FRAGMENT = (
    '# why\nCONFIG_SMP=y\nCONFIG_XFS_FS=m\n\nCONFIG_LOCALVERSION="-orlop"\nCONFIG_NR_CPUS=512\n'
)


def test_fragment_remembers_lines() -> None:
    settings = parse_fragment(FRAGMENT, "base.config")
    assert [(s.symbol, s.value, s.origin) for s in settings] == [
        ("SMP", "y", "base.config:2"),
        ("XFS_FS", "m", "base.config:3"),
        ("LOCALVERSION", '"-orlop"', "base.config:5"),
        ("NR_CPUS", "512", "base.config:6"),
    ]


@pytest.mark.parametrize(
    "line", ["CONFIG_A", "CONFIG_A=Y", "SMP=y", "CONFIG_A=y # why", "CONFIG_A= y", 'CONFIG_A="x']
)
def test_line_that_is_no_setting_is_refused(line: str) -> None:
    with pytest.raises(InvalidArgument, match=r"x\.config:2"):
        parse_fragment(f"# first\n{line}\n", "x.config")


def test_dropped_and_changed_settings_are_errors_with_their_line() -> None:
    settings = parse_fragment(FRAGMENT, "base.config")
    resolved = parse_config(
        "# CONFIG_XFS_FS is not set\nCONFIG_SMP=y\nCONFIG_NR_CPUS=64\n"
        'CONFIG_LOCALVERSION="-orlop"\n'
    )
    with pytest.raises(InvalidArgument) as caught:
        check_kept(settings, resolved)
    assert caught.value.message.splitlines()[1:] == [
        "base.config:3: XFS_FS: wanted m, the resolved configuration has n",
        "base.config:6: NR_CPUS: wanted 512, the resolved configuration has 64",
    ]


def test_kept_settings_pass_and_off_means_not_set() -> None:
    settings = parse_fragment("CONFIG_A=y\nCONFIG_B=n\n", "x")
    check_kept(settings, {"A": "y"})


def test_merged_does_not_depend_on_order_or_comments() -> None:
    one = parse_fragment("CONFIG_B=y\n# why\nCONFIG_A=m\n", "x")
    other = parse_fragment("CONFIG_A=m\nCONFIG_B=y\n", "y")
    assert merged(one) == merged(other) == "CONFIG_A=m\nCONFIG_B=y\n"


def test_own_fragments_are_well_formed_and_disjoint() -> None:
    settings = kernel_config.read_fragments(CHECKOUT)
    assert len({setting.symbol for setting in settings}) == len(settings) > 500
    on_disk = {path.stem for path in (CHECKOUT / "os/kernel").glob("*.config")}
    assert on_disk == set(kernel_config.FRAGMENTS)


def test_symbol_in_two_fragments_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "os/kernel"
    directory.mkdir(parents=True)
    for name in kernel_config.FRAGMENTS:
        (directory / f"{name}.config").write_text("")
    (directory / "base.config").write_text("CONFIG_A=y\n")
    (directory / "virtual.config").write_text("CONFIG_A=m\n")
    with pytest.raises(InvalidArgument, match=r"virtual\.config:1: A is set already, at .*base"):
        kernel_config.read_fragments(tmp_path)


def test_fragments_do_not_contradict_the_hardening_table() -> None:
    rules = hardening.read_table(CHECKOUT / hardening.TABLE)
    wanted = {rule.name: rule.value for rule in rules if rule.kind is hardening.Kind.KCONFIG}
    for setting in kernel_config.read_fragments(CHECKOUT):
        if setting.symbol in wanted:
            assert setting.value.strip('"') == wanted[setting.symbol], setting.origin


@pytest.mark.parametrize(
    "drivers",
    [
        ("VIRTIO_BLK", "SCSI_VIRTIO", "VIRTIO_NET", "VIRTIO_CONSOLE", "VIRTIO_BALLOON"),
        ("VMWARE_PVSCSI", "VMXNET3", "VMWARE_VMCI", "VMWARE_BALLOON", "E1000"),
        ("HYPERV", "HYPERV_STORAGE", "HYPERV_NET", "HYPERV_UTILS", "PCI_HYPERV"),
        ("XEN", "XEN_BLKDEV_FRONTEND", "XEN_NETDEV_FRONTEND"),
        ("BLK_DEV_NVME", "ENA_ETHERNET", "GVE"),
    ],
    ids=["qemu", "vmware", "hyper-v", "xen", "clouds"],
)
def test_one_image_has_the_drivers_of_every_hypervisor(drivers: tuple[str, ...]) -> None:
    texts = [path.read_text() for path in (CHECKOUT / "os/kernel").glob("*.config")]
    values = {s.symbol: s.value for text in texts for s in parse_fragment(text, "os")}
    assert [name for name in drivers if values.get(name) not in ("y", "m")] == []
