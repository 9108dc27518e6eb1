"""tests/rancheros has each key of RancherOS that means something here."""

from pathlib import Path

import pytest
import yaml

from orlop.wire.config.document import check_document
from orlop.wire.config.rancher import KNOWN
from orlop.wire.located_yaml import parse_yaml
from tests.rancheros.documents import DOCUMENTS, generated
from tests.rancheros.seen import Document

OWN = ("hostname", "ssh_authorized_keys", "write_files", "mounts", "runcmd", "bootcmd")
"""The keys outside of the `rancher` tree that RancherOS knew."""


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, ...]:
    return (*DOCUMENTS, *generated(Path(tmp_path_factory.mktemp("keys"))))


def test_there_is_a_document_for_each_key(documents: tuple[Document, ...]) -> None:
    wanted = {".".join(path) for path in KNOWN if path[0] == "rancher"} | {*OWN}
    found = {key for document in documents for key in document.keys}
    assert found == wanted


def test_a_document_has_its_keys_and_is_taken_whole(documents: tuple[Document, ...]) -> None:
    for document in documents:
        data = yaml.safe_load(document.text)
        for key in document.keys:
            assert has(data, key.split(".")), key
        checked = check_document(parse_yaml("c.yml", document.text))
        assert [notice.text for notice in checked.notices if notice.ignored] == []


def has(data: object, path: list[str]) -> bool:
    if not path:
        return True
    if not isinstance(data, dict):
        return False
    names = [*data] if path[0] == "NAME" else path[:1]
    return any(name in data and has(data[name], path[1:]) for name in names)
