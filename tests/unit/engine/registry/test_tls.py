"""Reading certs.d, and the words for what goes wrong."""

import ssl
from pathlib import Path

import pytest

from orlop.engine.registry.settings import Registries
from orlop.engine.registry.tls import Contexts, describe, read_authorities
from orlop.lib.errors import InvalidArgument

HOST = "registry.example:5000"


def contexts(directory: Path) -> Contexts:
    registries = Registries(certificates=str(directory), authorities=str(directory / "none"))
    return Contexts(registries, [HOST, "../etc"])


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("client.cert", "missing key client.key for client certificate client.cert"),
        ("client.key", "missing client certificate client.cert for key client.key"),
        ("ca.crt", "cannot use "),
    ],
)
def test_a_directory_that_makes_no_sense(tmp_path: Path, name: str, error: str) -> None:
    (tmp_path / HOST).mkdir()
    (tmp_path / HOST / name).write_text("rubbish")
    found = contexts(tmp_path)

    with pytest.raises(InvalidArgument, match=error):
        found.get(HOST, insecure=False)
    assert found.get(HOST, insecure=True).verify_mode == ssl.CERT_NONE
    assert found.get("other.example", insecure=False).verify_mode == ssl.CERT_REQUIRED


def test_checked_unless_told_otherwise(tmp_path: Path) -> None:
    found = contexts(tmp_path).get(HOST, insecure=False)

    assert found.check_hostname
    assert found.verify_mode == ssl.CERT_REQUIRED
    assert found.minimum_version == ssl.TLSVersion.TLSv1_2


def test_authorities_are_a_bundle_or_a_directory(tmp_path: Path) -> None:
    one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle, directory = tmp_path / "bundle.crt", tmp_path / "directory"
    bundle.write_text(one)
    directory.mkdir()
    for name in ("a.crt", "b.crt", "c.txt"):
        (directory / name).write_text(one)

    assert read_authorities(str(bundle), str(directory)) == one
    assert read_authorities(str(tmp_path / "none"), str(directory)) == one * 2
    assert read_authorities(str(tmp_path / "none")) == ""


def test_words() -> None:
    error = ssl.SSLCertVerificationError()
    for code, text in (
        (20, "certificate signed by unknown authority"),
        (10, "certificate has expired or is not yet valid"),
        (62, "certificate is not valid for h"),
        (99, "verification error 99"),
    ):
        error.verify_code, error.verify_message = code, ""
        assert describe(error, "h").endswith(text)
    plain = ssl.SSLError()
    plain.reason = "WRONG_VERSION_NUMBER"
    assert describe(plain, "h") == "http: server gave HTTP response to HTTPS client"
