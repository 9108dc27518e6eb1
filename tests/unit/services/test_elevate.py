"""Who may do what as root, what is asked, and what is written down of it."""

import json
from pathlib import Path

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.services.elevate import log, peer, policy
from orlop.wire import elevation
from orlop.wire.sudo_rule import Rule, find_rule, parse_rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ALL=(ALL) NOPASSWD:ALL", Rule(password=False)),
        ("ALL=(ALL:ALL) ALL", Rule(password=True)),
        ("ALL = NOPASSWD: ALL", Rule(password=False)),
        ("ALL=(root) PASSWD: /sbin/reboot", Rule(True, (("/sbin/reboot",),))),
        ("ALL=(ALL) NOPASSWD: /a, /b c *", Rule(False, (("/a",), ("/b", "c", "*")))),
    ],
)
def test_rules(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ALL",
        "host=(ALL) ALL",
        "ALL=(bob) ALL",
        "ALL=(ALL) !ALL",
        "ALL=(ALL) ALL, !/bin/sh",
        "ALL=(ALL) NOPASSWD:SETENV: ALL",
        "ALL=(ALL) reboot",
        "ALL=(ALL) /usr/../bin/sh",
        "ALL=(ALL) /bin/*",
        "ALL=(ALL) ALL\nALL=(ALL) NOPASSWD:ALL",
    ],
)
def test_rules_that_are_not_understood_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_rule(text)


def test_what_a_rule_covers() -> None:
    exact = parse_rule("ALL=(ALL) /usr/bin/orlop status")
    assert exact.covers(("/usr/bin/orlop", "status"))
    assert not exact.covers(("/usr/bin/orlop", "status", "--json"))
    assert not exact.covers(("/usr/bin/orlop",))
    more = parse_rule("ALL=(ALL) /usr/bin/orlop logs *")
    assert more.covers(("/usr/bin/orlop", "logs"))
    assert more.covers(("/usr/bin/orlop", "logs", "-f"))
    assert not more.covers(("/usr/bin/orlop", "exec", "logs"))
    any_of = parse_rule("ALL=(ALL) /sbin/reboot")
    assert any_of.covers(("/sbin/reboot", "--force"))


def test_the_last_rule_counts() -> None:
    rules = [parse_rule("ALL=(ALL) ALL"), parse_rule("ALL=(ALL) NOPASSWD: /sbin/reboot")]
    assert find_rule(rules, ("/sbin/reboot",)) == rules[1]
    assert find_rule(rules, ("/bin/sh",)) == rules[0]
    assert find_rule(rules[1:], ("/bin/sh",)) is None


def test_rules_and_hashes_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "sudo.json").write_text(json.dumps({"alice": ["ALL=(ALL) ALL"]}))
    (tmp_path / "shadow").write_text("root:*:1::::::\nalice:$6$x$y:1::::::\n")
    assert policy.rules_of("alice", tmp_path) == [Rule(password=True)]
    assert policy.rules_of("bob", tmp_path) == []
    assert policy.rules_of("alice", tmp_path / "none") == []
    assert policy.hash_of("alice", tmp_path) == "$6$x$y"
    assert policy.hash_of("bob", tmp_path) == policy.hash_of("", tmp_path / "none") == "*"


def test_a_program_has_one_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real/run").write_text("")
    (tmp_path / "real/run").chmod(0o755)
    wanted = (f"{tmp_path}/real/run", "x")
    assert policy.resolve([f"{tmp_path}/link/run", "x"], "/") == wanted
    assert policy.resolve(["./run", "x"], f"{tmp_path}/link") == wanted
    assert policy.resolve(["../link/run", "x"], f"{tmp_path}/real") == wanted
    assert policy.resolve(["no-such-program"], str(tmp_path)) == ("no-such-program",)


def request(**changes: object) -> bytes:
    message: dict[str, object] = {
        "command": ["id"],
        "cwd": "/tmp",
        "term": "xterm",
        "terminals": [True, False, False],
        "size": [80, 24],
    }
    return elevation.encode(message | changes)


def test_a_request() -> None:
    found = elevation.parse_request(request())
    assert found.command == ("id",)
    assert found.terminals == (True, False, False)
    assert not found.may_ask


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"[" * 100000,
        b'{"command": "id"}\n',
        request(command=["a\0b"]),
        request(command=["a\ud800"]),
        request(command=[1]),
        request(terminals=[True]),
        request(size=["80", 24]),
        request(size=[80, -1]),
        request(size=[True, 1]),
    ],
)
def test_what_is_no_request(line: bytes) -> None:
    with pytest.raises(InvalidArgument):
        elevation.parse_request(line)


def test_what_a_request_cannot_smuggle() -> None:
    found = elevation.parse_request(request(term="x\nLD_PRELOAD=y", cwd="relative"))
    assert (found.term, found.cwd) == ("dumb", "/")


def test_a_record_is_one_line_without_a_log_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log, "LOG", "/nonexistent/log")
    log.record("in /a\nsudo: root: \ud800")
    assert capsys.readouterr().err == "sudo: in /a?sudo: root: ?\n"


def test_a_record_is_one_line() -> None:
    assert elevation.show(("sh", "-c", "a\nb 'c'")) == "sh -c " + ascii("a\nb 'c'")
    assert log.line("a\nb\x1b[2J") == b"<86>sudo: a?b?[2J"
    assert log.line("x", refused=True).startswith(b"<84>")
    assert len(elevation.show(("x" * 5000,))) < 1000


def test_terminals_and_addresses_in_words() -> None:
    assert peer.terminal_name((136 << 8) | 3) == "pts/3"
    assert peer.terminal_name((4 << 8) | 64) == "ttyS0"
    assert peer.terminal_name((4 << 8) | 1) == "tty1"
    assert peer.terminal_name(0) == ""
    assert peer.peer_text("0702000A:1F90") == "10.0.2.7 port 8080"
    mapped = "0000000000000000FFFF00000702000A:0016"
    assert peer.peer_text(mapped) == "10.0.2.7 port 22"


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0F02000A:0016 0202000A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 77 1
"""


def process(
    proc: Path, pid: int, name: str, parent: int, *, uid: int = 0, title: str = "", socket: int = 0
) -> None:
    """A process in a /proc of our own; with 136:0 as its terminal."""
    (proc / f"{pid}/fd").mkdir(parents=True)
    (proc / f"{pid}/stat").write_text(f"{pid} ({name}) S {parent} 1 1 {136 << 8} -1 0")
    (proc / f"{pid}/status").write_text(f"Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    (proc / f"{pid}/cmdline").write_bytes(title.encode() + b"\0")
    if socket:
        (proc / f"{pid}/fd/4").symlink_to(f"socket:[{socket}]")


def test_from_where_somebody_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "PROC", str(tmp_path))
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(TCP)
    process(tmp_path, 1, "init", 0)
    process(tmp_path, 10, "sshd", 1, title="sshd: 192.0.2.9 port 9 [priv] x")
    # What is not to be seen of the descriptors is in the title.
    process(tmp_path, 11, "sshd-session", 10, title="sshd-session: 2001:db8::7 port 71 [priv] al")
    process(tmp_path, 12, "sshd-session", 11, uid=1000, title="sshd-session: alice@pts/0")
    # A title that is the user's own, and a socket that is.
    forged = "sshd-session: 192.0.2.66 port 66 [priv] root"
    process(tmp_path, 13, "sshd-session", 12, uid=1000, title=forged, socket=77)
    assert peer.origin(13) == "2001:db8::7 port 71 on pts/0"
    # Root has two, of which one says it.
    process(tmp_path, 21, "sshd-session", 10, title="sshd-session: 10.0.2.2 port 5 [priv] root")
    process(tmp_path, 22, "sshd-session", 21, title="sshd-session: root@pts/0")
    assert peer.origin(22) == "10.0.2.2 port 5 on pts/0"
    process(tmp_path, 31, "sshd-session", 10, title="sshd-session: alice [priv]", socket=77)
    assert peer.origin(31) == "10.0.2.2 port 40000 on pts/0"
    process(tmp_path, 41, "sshd-session", 10, title="sshd-session: alice [priv]")
    assert peer.origin(41) == "sshd 41 on pts/0"
