"""RancherOS's keys on a machine: the documents of tests/rancheros at boot."""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import Disk, UserNet
from tests.rancheros.documents import DOCUMENTS, generated
from tests.rancheros.seen import Document
from tests.vm.lab import Lab

pytestmark = pytest.mark.long

CARDS = (UserNet(), UserNet(mac="52:54:00:00:09:01"))


def disk_with(lab: Lab, directory: Path, texts: list[str]) -> Disk:
    """The disk of a machine's state, with *texts* as its configuration."""
    conf = directory / "state/lib/orlop/conf.d"
    conf.mkdir(parents=True)
    for number, text in enumerate(texts, start=10):
        (conf / f"{number}.yml").write_text(text)
    return lab.state_disk(128, content=directory / "state")


@contextlib.contextmanager
def booted(lab: Lab, directory: Path, *texts: str) -> Iterator[Machine]:
    """A machine that has started with *texts* as its configuration."""
    disks = (disk_with(lab, directory, [*texts]),)
    with lab.machine(lab.kernel(), "ship", disks=disks, nics=CARDS) as machine:
        machine.boot()
        yield machine


def look(machine: Machine, document: Document) -> None:
    """Wait until a person on the console sees that *document* has done its work."""
    if document.vm:
        command = f"orlop exec console sh -c {shlex.quote(document.vm)}"
        machine.wait_until_succeeds(command, timeout_s=90)


def test_documents_of_every_area_at_once(lab: Lab, tmp_path: Path) -> None:
    chosen = [document for document in DOCUMENTS if document.together]
    with booted(lab, tmp_path, *(document.text for document in chosen)) as machine:
        for document in chosen:
            look(machine, document)


@pytest.mark.parametrize("index", range(len(DOCUMENTS) + 2))
def test_each_document_by_itself(index: int, lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    document = (*DOCUMENTS, *generated(tmp_path / "made"))[index]
    with booted(lab, tmp_path, document.text) as machine:
        look(machine, document)
