"""The launcher's promise: however it ends, no process, no mount and no temporary file is left.

Runs ./orlop inside the tool root once more, with the same cache; that needs root and nothing else.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are made as root"),
    pytest.mark.skipif("ORLOP_CACHE" not in os.environ, reason="started without ./orlop"),
]


def orlop(*arguments: str) -> subprocess.Popen[str]:
    # A test run in the background of a script ignores SIGINT, and what it starts inherits that.
    return subprocess.Popen(
        ["env", "--default-signal", str(CHECKOUT / "orlop"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_with(word: str) -> list[int]:
    """Living processes (no zombies) that have *word* as an argument."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (directory / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        if word.encode() in arguments:
            found.append(int(directory.name))
    return found


def wait_until_none(word: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while (left := processes_with(word)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert left == []


@pytest.fixture
def sleeper() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A launcher whose command sleeps beside a daemon of its own, and the word that marks both."""
    seconds = f"1000.{os.getpid()}{time.monotonic_ns() % 1_000_000}"
    script = f"(setsid sleep {seconds} &) ; touch /tmp/half-written; echo ready; sleep {seconds}"
    launcher = orlop("shell", "--", "sh", "-c", script)
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "ready\n"
    # A signal that reaches dash just before it executes its last command is lost.
    deadline_s = time.monotonic() + DEADLINE_S
    while len(processes_with(seconds)) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    yield launcher, seconds
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_of_a_launcher_that_is_killed(
    sleeper: tuple[subprocess.Popen[str], str], number: signal.Signals
) -> None:
    launcher, seconds = sleeper
    mounts = Path("/proc/self/mounts").read_text()
    work = Path(os.environ["ORLOP_CACHE"]) / "work"
    [session] = [path for path in work.glob(f"*-{launcher.pid}") if path.is_dir()]

    launcher.send_signal(number)
    launcher.wait(DEADLINE_S)

    wait_until_none(seconds)
    assert Path("/proc/self/mounts").read_text() == mounts
    assert orlop_output("shell", "--", "true") == ""
    assert not session.exists()


def orlop_output(*arguments: str) -> str:
    with orlop(*arguments) as launcher:
        assert launcher.stdout is not None
        output = launcher.stdout.read()
        assert launcher.wait(DEADLINE_S) == 0, output
    return output


def test_status_of_the_command_is_the_launchers() -> None:
    with orlop("shell", "--", "sh", "-c", "exit 7") as launcher:
        assert launcher.wait(DEADLINE_S) == 7


def test_tool_root_is_read_only_and_has_its_own_processes() -> None:
    script = "touch /usr/x 2>/dev/null || echo read-only; ls /proc | grep -c '^[0-9]'"
    output = orlop_output("shell", "--", "sh", "-c", script)

    assert re.fullmatch(r"read-only\n\d\n", output)


def test_checkout_and_cache_are_at_their_own_paths() -> None:
    cache = os.environ["ORLOP_CACHE"]
    script = f"test -x {CHECKOUT}/orlop && test -w {cache} && echo $ORLOP_CACHE"

    assert orlop_output("shell", "--", "sh", "-c", script) == f"{cache}\n"


def test_files_are_seen_wherever_they_are(tmp_path: Path) -> None:
    """`tmp_path` is in /tmp, of which a command has its own otherwise."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    file = tmp_path / "link" / "machine.yml"
    file.write_text("hostnam: x\n")

    for named in (file, os.path.relpath(file)):
        with orlop("config", "validate", str(named)) as launcher:
            assert launcher.stdout is not None
            assert "machine.yml:1: configuration: hostnam" in launcher.stdout.read()
    file.write_text("hostname: x\n")
    orlop_output("migrate", str(file), "-o", str(tmp_path / "new.yml"))
    assert (tmp_path / "new.yml").exists()
    with orlop("image", "--iso", "none", f"--output={file}") as launcher:
        assert launcher.stdout is not None
        assert f"{file} exists" in launcher.stdout.read()


def test_where_a_file_would_be_lost_none_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    for words in (
        ("image", "--output", "/etc/disk.img"),
        ("image", f"--output={tmp_path}/link/disk.img"),
        ("image", "--output", os.path.relpath("/usr/share/disk.img")),
        ("keys", "new", "/usr/local/keys"),
        ("release", "--key", "keys", "--out", "/etc/releases"),
    ):
        with orlop(*words) as launcher:
            assert launcher.stdout is not None
            assert "would be lost\n  (try: write it elsewhere" in launcher.stdout.read()
            assert launcher.wait(DEADLINE_S) == 1
    boot = Path("/boot/releases")  # which is nobody's inside
    boot.mkdir(parents=True)
    try:
        orlop_output("release", "new-keys", f"{boot}/keys")
        assert (boot / "keys/root.json").exists()
    finally:
        shutil.rmtree(boot)


def test_what_is_mounted_below_what_is_seen_is_seen_too(tmp_path: Path) -> None:
    """A stick in one's home, else written to below where it is mounted."""
    stick = tmp_path / "home/stick"
    stick.mkdir(parents=True)
    script = (
        f"mount -t tmpfs none {stick} && mkdir {stick}/new && cd {tmp_path}/home && "
        f"{CHECKOUT}/orlop release new-keys {stick}/new/keys && ls {stick}/new/keys"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert "root.json" in done.stdout, done.stderr
    assert not [*stick.iterdir()]
