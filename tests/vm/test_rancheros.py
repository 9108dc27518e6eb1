"""RancherOS's keys on a machine: the documents of tests/rancheros at boot."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.vm.machine import LostVM, Machine
from orlop.vm.spec import UserNet
from tests.rancheros.documents import DOCUMENTS, generated
from tests.rancheros.seen import Document
from tests.vm import guest
from tests.vm.lab import Lab

CONF = "/var/lib/orlop/conf.d"


@pytest.fixture(scope="module")
def ship(lab: Lab) -> Iterator[Machine]:
    nics = (UserNet(), UserNet(mac="52:54:00:00:09:01"))
    disks = (lab.state_disk(128),)
    with lab.machine(lab.kernel(), "ship", disks=disks, nics=nics) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        yield machine


def boot(machine: Machine, *texts: str) -> None:
    """Start *machine* with *texts* as its configuration."""
    machine.succeed(f"rm -f {CONF}/*.yml; rm -f /root/*")
    for number, text in enumerate(texts, start=10):
        answer = machine.run(["sh", "-c", f"cat > {CONF}/{number}.yml"], stdin=text.encode())
        assert answer.status == 0, answer
    machine.succeed("sync")
    with contextlib.suppress(LostVM):
        machine.run(["orlop", "reboot"])
    machine.wait_for_ready()


def look(machine: Machine, document: Document) -> None:
    """Wait until *document* has done its work."""
    if document.vm:
        machine.wait_until_succeeds(document.vm, timeout_s=180)


def test_documents_of_every_area_at_once(ship: Machine) -> None:
    chosen = [document for document in DOCUMENTS if document.together]
    boot(ship, *(document.text for document in chosen))
    for document in chosen:
        look(ship, document)


@pytest.mark.long
def test_each_document_by_itself(ship: Machine, tmp_path: Path) -> None:
    for document in (*DOCUMENTS, *generated(tmp_path)):
        boot(ship, document.text)
        look(ship, document)
