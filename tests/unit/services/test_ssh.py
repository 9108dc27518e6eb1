"""What sshd is told, and the machine's key."""

from base64 import b64decode
from pathlib import Path

import pytest

from orlop.services.ssh import host_key, main
from orlop.services.ssh.config import CONFIG, RUN, files

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB2xTVZ6TmpVGPZyPeTJCZWPzSr1hIZLMNAqk0KsqJW6"


def config_of(**settings: object) -> list[str]:
    return files(settings)[CONFIG].splitlines()


def test_only_keys_unless_something_else_is_said() -> None:
    lines = config_of()
    assert "Port 22" in lines
    assert "PasswordAuthentication no" in lines
    assert "PermitRootLogin prohibit-password" in lines
    assert "KbdInteractiveAuthentication no" in lines
    assert not [line for line in lines if line.startswith(("TrustedUser", "AuthorizedKeysCommand"))]


def test_port_addresses_and_passwords() -> None:
    lines = config_of(
        port=2222, listen_address=["192.0.2.7"], password_authentication=True, disable_root=True
    )
    assert {"Port 2222", "ListenAddress 192.0.2.7", "PasswordAuthentication yes"} <= {*lines}
    assert "PermitRootLogin no" in lines


def test_authorities_and_principals() -> None:
    found = files(
        {
            "trusted_user_ca_keys": [KEY],
            "revoked_keys": [KEY],
            "host_certificates": ["cert"],
            "authorized_principals": {"alice": ["admins", "on-call"]},
        }
    )
    assert found[f"{RUN}/trusted_user_ca_keys"] == f"{KEY}\n"
    assert found[f"{RUN}/principals/alice"] == "admins\non-call\n"
    text = found[CONFIG]
    assert f"RevokedKeys {RUN}/revoked_keys\n" in text
    assert f"HostCertificate {RUN}/host_certificate_0\n" in text
    block = f"Match User alice\n\tAuthorizedPrincipalsFile {RUN}/principals/alice\n"
    assert block in text
    assert "\nPort" not in text.partition("Match")[2]


def test_a_command_of_the_owner_comes_before_the_url() -> None:
    url = {"authorized_keys_url": "https://keys.example/{user}"}
    assert "AuthorizedKeysCommand /usr/lib/orlop/ssh-keys %u" in config_of(**url)
    assert "AuthorizedKeysCommandUser sshkeys" in config_of(**url)
    lines = config_of(**url, authorized_keys_command=["/opt/keys", "%u"])
    assert "AuthorizedKeysCommand /opt/keys %u" in lines


def test_no_old_algorithms() -> None:
    text = " ".join(config_of()).lower()
    assert not [
        word for word in ("sha1", "cbc", "3des", "group1", "group14", "md5") if word in text
    ]


def test_what_is_not_configured_any_more_goes(tmp_path: Path) -> None:
    run = str(tmp_path)
    main.write({f"{run}/a": "1", f"{run}/principals/bob": "x\n"}, run)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "principals/bob").stat().st_mode & 0o777 == 0o644
    main.write({f"{run}/a": "2"}, run)
    assert (tmp_path / "a").read_text() == "2"
    assert not (tmp_path / "principals/bob").exists()


def test_public_key_of_rfc_8032() -> None:
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert host_key.public_key(seed).hex() == public


def test_the_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    public = host_key.ensure(path, tmp_path / "none")
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert host_key.ensure(path, tmp_path / "none") == public
    assert path.read_text() == text
    assert b64decode((tmp_path / "key.pub").read_text().split()[1]).endswith(public)


def test_the_key_that_dropbear_had_goes_on(tmp_path: Path) -> None:
    seed = bytes(range(32))
    public = host_key.public_key(seed)
    old = tmp_path / "old"
    old.write_bytes(b"\0\0\0\x0bssh-ed25519\0\0\0\x40" + seed + public)
    assert host_key.ensure(tmp_path / "key", old) == public
    assert seed + public in b64decode("".join((tmp_path / "key").read_text().splitlines()[1:-1]))


def test_what_is_no_key_of_dropbears_is_refused() -> None:
    with pytest.raises(ValueError, match="no ed25519"):
        host_key.from_dropbear(b"\0\0\0\x07ssh-rsa")
    with pytest.raises(ValueError, match="do not belong"):
        host_key.from_dropbear(b"\0\0\0\x0bssh-ed25519\0\0\0\x40" + bytes(64))


def test_a_disk_that_can_only_be_read_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(main, "make_cache", fail)
    monkeypatch.setattr(main, "read_settings", lambda: {"authorized_keys_url": "https://k/{user}"})
    monkeypatch.setattr(main, "write", lambda texts, run: None)
    monkeypatch.setattr(main, "HOST_KEY", str(tmp_path / "key"))
    assert main.main([]) == 0
