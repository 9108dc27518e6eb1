"""The catalogue: its entries as they are in the repository, its archives and its index."""

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from orlop.image import lockfile
from orlop.image.blobs import Digest
from orlop.image.catalogue import add_licences, index_row, merge_index, step_name, steps
from orlop.image.catalogue_entry import SECTIONS, read_entries, read_entry
from orlop.image.oci_archive import write_oci_archive
from orlop.image.packages import Entry, Package
from orlop.image.tree import File, Tree
from orlop.image.whole_debian import mmdebstrap_command
from orlop.lib.errors import InvalidArgument, NotFound

ROOT = Path(__file__).parents[3]
IMAGE = """
packages = ["busybox"]
files = ["/usr/bin/busybox"]

[catalogue]
section = "services"
description = "A web server"
command = ["/usr/bin/busybox"]
"""
SERVICE = """
services:
  web:
    image: catalogue.internal/web:latest
    command: [/usr/bin/busybox, httpd, -f]
"""


def make_entry(tmp_path: Path, image: str = IMAGE, service: str = SERVICE) -> Path:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "image.toml").write_text(image)
    (folder / "service.yml").write_text(service)
    return folder


def test_what_the_repository_has_is_valid_and_locked() -> None:
    entries = read_entries(ROOT)
    assert len(steps(ROOT, entries, locked=True)) >= 2 * len(entries)
    for entry in entries:
        locked = lockfile.parse_packages(lockfile.read(ROOT, entry.lock))
        assert entry.packages <= {package.name for package in locked}, entry.name
    locks = {path.stem for path in (ROOT / "os/lock/catalogue").iterdir()}
    assert locks == {entry.name for entry in entries}


def test_an_entry(tmp_path: Path) -> None:
    entry = read_entry(make_entry(tmp_path))
    assert entry.section in SECTIONS
    assert entry.reference == "catalogue.internal/web:latest"
    assert entry.packages == {"busybox"}
    assert entry.command == ("/usr/bin/busybox",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('section = "services"', 'section = "shops"', "section: want one of services"),
        ('description = "A web server"', "", "description: want a sentence"),
        ('command = ["/usr', 'command = [1, "/usr', "command: want a list of strings"),
        ("[catalogue]", "[katalog]", "unknown key"),
        ("[catalogue]", '[catalogue]\ndebian = ["apt"]', "either `packages` or `debian`"),
        ("[catalogue]", "[catalogue]\ncolour = 1", "want a table [catalogue]"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    folder = make_entry(tmp_path, image=IMAGE.replace(old, new))
    with pytest.raises(InvalidArgument) as refused:
        read_entry(folder)
    assert said in str(refused.value)
    assert "image.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  web:", "  wap:", "exactly one service, web"),
        ("internal/web", "internal/wap", "image: want catalogue.internal/web:latest"),
        ("command:", "comand:", "comand"),
    ],
)
def test_a_wrong_definition_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    folder = make_entry(tmp_path, service=SERVICE.replace(old, new))
    with pytest.raises(InvalidArgument) as refused:
        read_entry(folder)
    assert said in str(refused.value)
    assert "service.yml" in str(refused.value)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(NotFound) as refused:
        read_entries(ROOT, ["metric"])
    assert "metrics" in str(refused.value.hint)


def write(tmp_path: Path, name: str, layer: Path) -> tuple[bytes, str]:
    scratch = tmp_path / name
    scratch.mkdir()
    target = scratch / "image.tar"
    digest = write_oci_archive(
        layer,
        target,
        reference="catalogue.internal/web:latest",
        command=("/bin/web",),
        labels={"a": "b"},
        epoch=1_700_000_000,
        scratch=scratch,
    )
    return target.read_bytes(), digest


def test_an_archive_is_the_same_every_time_and_names_what_it_holds(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as archive:
        archive.addfile(tarfile.TarInfo("hello"))
    first, digest = write(tmp_path, "first", layer)
    assert write(tmp_path, "second", layer) == (first, digest)

    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = {}
        for member in archive:
            stream = archive.extractfile(member)
            assert stream is not None
            members[member.name] = stream.read()
    for name, data in members.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.removeprefix("blobs/sha256/")
    index = json.loads(members["index.json"])
    assert index["manifests"][0]["digest"] == digest
    manifest = json.loads(members["blobs/" + digest.replace(":", "/")])
    config = json.loads(members["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    assert config["config"]["Cmd"] == ["/bin/web"]
    plain = hashlib.sha256(layer.read_bytes()).hexdigest()
    assert config["rootfs"]["diff_ids"] == [f"sha256:{plain}"]
    [docker] = json.loads(members["manifest.json"])
    assert {docker["Config"], *docker["Layers"]} <= members.keys()


def test_the_index_keeps_what_was_not_built_now(tmp_path: Path) -> None:
    entry = read_entry(make_entry(tmp_path))
    image = {"reference": entry.reference, "digest": "sha256:1", "size_bytes": 2}
    row = index_row(entry, image)
    assert row["definition"] == "web/service.yml"
    assert row["sha256"] == hashlib.sha256(entry.definition.read_bytes()).hexdigest()
    assert row["images"] == {
        entry.reference: {"archive": "web/web.tar", "digest": "sha256:1", "size_bytes": 2}
    }
    old: dict[str, object] = {"services": {"other": {}}, "consoles": {"web": {}}}
    merged = merge_index(old, {"web": ("services", row)})
    assert merged == {"services": {"other": {}, "web": row}, "consoles": {}, "engines": {}}


def test_a_whole_debian_is_installed_from_the_locked_files_alone() -> None:
    command = mmdebstrap_command(Path("/a"), ["b", "a"], Path("/none"), Path("/t.tar"))
    assert "--include=a,b" in command
    assert command[-1] == "deb [trusted=yes] copy:/a trixie main"
    assert step_name(read_entries(ROOT, ["debian"])[0]) == "catalogue-debian"


def test_the_terms_of_every_package_are_in_the_image() -> None:
    def package(name: str, *entries: Entry) -> Package:
        return Package(name, "1", name, "1", entries)

    folder = "/usr/share/doc"
    file = Entry(f"{folder}/x/copyright", "file", 0o644, 1, Digest("ab"))
    packages = {
        "x": package("x", file),
        "y": package("y", Entry(f"{folder}/y", "link", target="z")),
        "z": package("z", replace(file, path=f"{folder}/z/copyright")),
        "unused": package("unused", replace(file, path=f"{folder}/unused/copyright")),
    }
    tree = Tree()
    for name in ("x", "y"):
        tree.add(f"/usr/bin/{name}", File(Digest("cd"), 1, 0o755, name))
    add_licences(tree, packages)
    found = {path for path in tree.nodes if path.startswith(f"{folder}/")}
    assert found >= {f"{folder}/x/copyright", f"{folder}/y", f"{folder}/z/copyright"}
    assert f"{folder}/unused" not in found
    assert isinstance(tree.get(f"{folder}/y/copyright"), File)
