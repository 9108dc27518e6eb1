"""Public halves of SSH keys, against ssh-keygen's own."""

import subprocess
from pathlib import Path

import pytest

from orlop.wire.ssh_public import public_line


@pytest.mark.parametrize(
    "words",
    [
        ("ed25519",),
        ("rsa", "-b", "2048"),
        ("ecdsa", "-b", "256"),
        ("ecdsa", "-b", "521"),
        ("rsa", "-b", "2048", "-m", "PEM"),
        ("ecdsa", "-b", "256", "-m", "PEM"),
        ("ecdsa", "-b", "384", "-m", "PEM"),
        ("ecdsa", "-b", "521", "-m", "PEM"),
    ],
    ids=" ".join,
)
def test_the_public_half(words: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "me", "-f", path, "-t", *words], check=True)
    kind, data, _ = Path(f"{path}.pub").read_text().split()
    private = path.read_text()
    assert public_line(private) == f"{kind} {data}"
    for cut in range(0, len(private) - 30, 7):  # whatever is missing, it is said
        head, *lines, tail = private.splitlines()
        text = "".join(lines)[:cut]
        try:
            assert public_line(f"{head}\n{text}\n{tail}\n") == f"{kind} {data}"
        except ValueError:
            continue


def test_a_form_that_does_not_have_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    words = ("-t", "rsa", "-b", "2048", "-m", "PKCS8")
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", path, *words], check=True)
    with pytest.raises(ValueError, match="without its public half"):
        public_line(path.read_text())
    with pytest.raises(ValueError):
        public_line("")
