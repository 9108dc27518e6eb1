"""Certificates as OpenSSL and Docker's clients want them; keys are nobody else's."""

import subprocess
import time
from pathlib import Path

import pytest

from orlop.lib import certificate
from orlop.lib.authority import CA, CA_KEY, HOSTS, SERVER, SERVER_KEY, Authority
from orlop.lib.certificate import Purpose
from orlop.lib.errors import InvalidArgument, NotFound


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    found = Authority(tmp_path / "tls")
    found.ensure("ship")
    return found


def verify(
    authority: Authority, text: str, purpose: str, *more: str
) -> subprocess.CompletedProcess[str]:
    path = authority.directory / "checked.pem"
    path.write_text(text)
    return subprocess.run(
        ["openssl", "verify", "-x509_strict", "-purpose", purpose, *more, "-CAfile",
         authority.directory / CA, path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_server_is_one_and_a_client_is_one(authority: Authority) -> None:
    authority.make_server("ship", hosts=["ship.example", "192.0.2.7", "2001:db8::7"])
    server = authority.read(SERVER)
    for more in ([], ["-verify_hostname", "ship.example"], ["-verify_ip", "192.0.2.7"]):
        done = verify(authority, server, "sslserver", *more)
        assert done.returncode == 0, done.stderr
    assert verify(authority, server, "sslserver", "-verify_ip", "192.0.2.8").returncode
    assert verify(authority, server, "sslclient").returncode
    client = authority.make(Purpose.CLIENT, "me").certificate
    assert verify(authority, client, "sslclient").returncode == 0
    assert verify(authority, client, "sslserver").returncode


def test_a_new_authority_believes_nobody_of_the_one_before(authority: Authority) -> None:
    authority.make_server("ship")
    client = authority.make(Purpose.CLIENT, "me").certificate
    assert authority.server_is_whole()
    authority.renew("ship")
    assert verify(authority, client, "sslclient").returncode
    assert not authority.server_is_whole()
    assert authority.keep_server("ship", [])
    assert authority.server_is_whole()


def test_keys_are_nobody_elses(authority: Authority) -> None:
    authority.directory.chmod(0o755)
    authority.make_server("ship")
    modes = {path.name: path.stat().st_mode & 0o777 for path in authority.directory.iterdir()}
    assert modes == {CA: 0o644, CA_KEY: 0o600, SERVER: 0o644, SERVER_KEY: 0o600, HOSTS: 0o644}
    assert authority.directory.stat().st_mode & 0o777 == 0o700


def test_the_server_is_made_anew_only_when_it_must(authority: Authority) -> None:
    assert authority.keep_server("ship", ["a", "10.0.0.1"])
    assert not authority.keep_server("ship", ["10.0.0.1"])
    assert authority.keep_server("ship", ["10.0.0.2"])
    assert authority.hosts() == ["10.0.0.2", "a", "10.0.0.1"]
    authority.make_server("ship", days=29, hosts=authority.hosts())
    assert authority.keep_server("ship", ["a"])
    (authority.directory / SERVER_KEY).write_text("torn")
    assert authority.keep_server("ship", ["a"])
    ends_s = authority.describe(SERVER).ends_s
    assert abs(ends_s - time.time() - 365 * 86400) < 120


def test_an_authority_from_elsewhere_signs_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other",
         "-addext", "keyUsage=critical,keyCertSign",
         "-keyout", tmp_path / CA_KEY, "-out", tmp_path / CA],
        check=True, capture_output=True,
    )  # fmt: skip
    authority.make_server("ship", hosts=["ship"])
    assert authority.server_is_whole()
    assert verify(authority, authority.read(SERVER), "sslserver").returncode == 0
    other = Authority(tmp_path / "other")
    other.ensure("x")
    authority.replace({CA_KEY: other.read(CA_KEY)})
    with pytest.raises(InvalidArgument, match="not the key"):
        authority.make(Purpose.CLIENT, "me")


def test_what_is_not_there_or_wrong_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with pytest.raises(NotFound, match=r"ca-key\.pem"):
        authority.make(Purpose.CLIENT, "me")
    for text in ("", "x", "-----BEGIN X-----\n!\n-----END X-----\n"):
        (tmp_path / CA_KEY).write_text(text)
        with pytest.raises(InvalidArgument):
            authority.make(Purpose.CLIENT, "me")
    Authority(tmp_path / "b").ensure("x")
    with pytest.raises(InvalidArgument, match="host name"):
        Authority(tmp_path / "b").make_server("x", hosts=["a b"])


def test_a_torn_certificate_is_no_certificate(authority: Authority) -> None:
    der = certificate.from_pem(authority.read(CA))
    assert certificate.from_pem(certificate.pem("X", der)) == der
    for length in range(0, len(der) - 1, 7):
        with pytest.raises(InvalidArgument):
            certificate.read(der[:length])


def test_dates_after_2049(authority: Authority) -> None:
    text = authority.make(Purpose.CLIENT, "late", days=20000).certificate
    assert verify(authority, text, "sslclient").returncode == 0
    ends_s = certificate.read(certificate.from_pem(text)).ends_s
    assert abs(ends_s - time.time() - 20000 * 86400) < 120
