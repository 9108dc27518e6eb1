"""Keys and arguments of the SSH server."""

from pathlib import Path

from orlop.services.ssh.main import authorized_keys, dropbear_arguments, read_key_file

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB2xTVZ6TmpVGPZyPeTJCZWPzSr1hIZLMNAqk0KsqJW6"


def test_keys_of_both_sources_once() -> None:
    settings: dict[str, object] = {"ssh_authorized_keys": [f"{ED25519} one", f"{ED25519} two"]}
    content = f"# people\n\n  {ED25519} two\n{ED25519} three\n"
    assert authorized_keys(settings, content).splitlines() == [
        f"{ED25519} one",
        f"{ED25519} two",
        f"{ED25519} three",
    ]


def test_what_is_not_a_line_is_left_out() -> None:
    settings: dict[str, object] = {"ssh_authorized_keys": [f"{ED25519}\ncommand", 7, None, ""]}
    assert authorized_keys(settings, "") == ""
    assert authorized_keys({"ssh_authorized_keys": "x"}, "") == ""


def test_no_file_is_no_keys(tmp_path: Path) -> None:
    assert read_key_file(str(tmp_path / "none")) == ""


def test_passwords_are_not_offered() -> None:
    """The build has no code for them; no option could turn them on."""
    recipe = Path("os/build/dropbear.toml").read_text()
    assert "#define DROPBEAR_SVR_PASSWORD_AUTH 0" in recipe
    assert "#define DROPBEAR_SVR_PAM_AUTH 0" in recipe
    arguments = dropbear_arguments()
    assert "-F" in arguments
    assert "-B" not in arguments
    # Forwarding is wanted: neither -j nor -k.
    assert not {"-j", "-k"} & set(arguments)
