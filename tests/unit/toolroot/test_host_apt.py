"""What is carried from the host's apt configuration, and what is not."""

from pathlib import Path

from orlop.toolroot import host_apt
from orlop.toolroot.apt_sources import KEYRING, Source

DUMP = """\
APT "";
APT::Install-Recommends "1";
Acquire "";
Acquire::http::Proxy "http://proxy.example:3142";
Acquire::http::Proxy::direct.example "DIRECT";
Acquire::http::Proxy-Auto-Detect "/usr/local/bin/find-proxy";
Acquire::CompressionTypes::xz "xz";
Acquire::GzipIndexes "true";
Acquire::Languages "none";
Acquire::Retries "3";
DPkg::Post-Invoke:: "echo \\"done\\"";
"""


def test_settings_for_fetching_are_carried_and_no_others() -> None:
    assert host_apt.parse_settings(DUMP) == {
        "Acquire::http::Proxy": "http://proxy.example:3142",
        "Acquire::http::Proxy::direct.example": "DIRECT",
        "Acquire::Retries": "3",
    }


def make_host(tmp_path: Path) -> Path:
    host = tmp_path / "host"
    (host / "auth.conf.d").mkdir(parents=True)
    (host / "auth.conf.d" / "mirror.conf").write_text("machine mirror.example login u password p\n")
    (host / "trusted.gpg.d").mkdir()
    return host


def source(keyring: str) -> Source:
    uris = ("http://mirror.example/debian",)
    return Source(("deb",), uris, ("trixie",), ("main",), {"signed-by": keyring})


def test_written_directory_has_credentials_settings_and_sources(tmp_path: Path) -> None:
    apt = host_apt.HostApt([source(KEYRING)], {"Acquire::Retries": "3"}, make_host(tmp_path))
    host_apt.write(apt, tmp_path / "etc", keyrings_inside=True)

    written = tmp_path / "etc" / "apt"
    assert "password p" in (written / "auth.conf.d" / "mirror.conf").read_text()
    assert 'Acquire::Retries "3";' in (written / "apt.conf").read_text()
    assert f"Signed-By: {KEYRING}" in (written / "sources.list.d" / "debian.sources").read_text()


def test_keyring_below_usr_comes_along(tmp_path: Path) -> None:
    # Any file below /usr will do as a keyring: it is copied, never read.
    keyring = Path("/usr/bin/env")
    apt = host_apt.HostApt([source(str(keyring))], {}, make_host(tmp_path))
    host_apt.write(apt, tmp_path / "etc", keyrings_inside=True)

    written = tmp_path / "etc" / "apt"
    assert (written / "keyrings" / "host-env").read_bytes() == keyring.read_bytes()
    text = (written / "sources.list.d" / "debian.sources").read_text()
    assert "Signed-By: /etc/apt/keyrings/host-env" in text


def test_named_files_outside_usr_are_shown_at_their_paths(tmp_path: Path) -> None:
    certificate = tmp_path / "corp.crt"
    certificate.touch()
    settings = {"Acquire::https::CAInfo": str(certificate)}
    apt = host_apt.HostApt([source("/usr/bin/env")], settings, tmp_path)

    assert certificate in apt.files
    assert Path("/usr/bin/env") not in apt.files
