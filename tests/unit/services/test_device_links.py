"""Links with claims: two disks with one label, removal, restart."""

import os
from pathlib import Path

from orlop.services.devices.links import Links


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): os.readlink(path)
        for path in sorted(root.rglob("*"))
        if path.is_symlink()
    }


def test_made_and_removed_with_their_directories(tmp_path: Path) -> None:
    links = Links(str(tmp_path))
    links.set("vda1", ["disk/by-label/A", "disk/by-uuid/1"])
    assert tree(tmp_path) == {"disk/by-label/A": "../../vda1", "disk/by-uuid/1": "../../vda1"}
    links.remove("vda1")
    assert list(tmp_path.iterdir()) == []


def test_first_claim_wins_and_is_handed_on(tmp_path: Path) -> None:
    links = Links(str(tmp_path))
    links.set("sda", ["disk/by-label/X"])
    links.set("sdb", ["disk/by-label/X"])
    assert tree(tmp_path) == {"disk/by-label/X": "../../sda"}
    links.remove("sda")
    assert tree(tmp_path) == {"disk/by-label/X": "../../sdb"}
    links.remove("sdb")
    assert tree(tmp_path) == {}


def test_change_of_label(tmp_path: Path) -> None:
    links = Links(str(tmp_path))
    links.set("sda", ["disk/by-label/OLD", "disk/by-id/x"])
    links.set("sda", ["disk/by-label/NEW", "disk/by-id/x"])
    assert tree(tmp_path) == {"disk/by-id/x": "../../sda", "disk/by-label/NEW": "../../sda"}
    assert links.claimed_by("sda") == ["disk/by-id/x", "disk/by-label/NEW"]


def test_nodes_in_directories(tmp_path: Path) -> None:
    links = Links(str(tmp_path))
    links.set("cciss/c0d0", ["disk/by-id/y"])
    assert tree(tmp_path) == {"disk/by-id/y": "../../cciss/c0d0"}


def test_restart_takes_over_and_cleans_up(tmp_path: Path) -> None:
    Links(str(tmp_path)).set("sda", ["disk/by-label/STAYS", "disk/by-label/GONE", "mapper/gone"])
    links = Links(str(tmp_path))
    links.set("sda", ["disk/by-label/STAYS"])
    links.forget_strangers()
    assert tree(tmp_path) == {"disk/by-label/STAYS": "../../sda"}


def test_what_is_no_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mapper").mkdir()
    (tmp_path / "mapper/control").write_text("")
    Links(str(tmp_path)).forget_strangers()
    assert (tmp_path / "mapper/control").exists()
