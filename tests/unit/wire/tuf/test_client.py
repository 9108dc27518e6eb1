"""Our client of The Update Framework and the reference client: both take what is good, and both
refuse each kind of attack."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING

import pytest
from tuf.api.exceptions import DownloadError, RepositoryError

from orlop.image import release_keys, release_repository
from orlop.image.release_keys import Keys
from orlop.lib.errors import Forbidden, InvalidArgument, NotFound, OrlopError
from tests.unit.wire.tuf.lab import NOW, ROLES, Lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAY_S = 86400
REFUSED = (Forbidden, InvalidArgument, NotFound)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """With one channel, which both clients have seen."""
    lab = Lab(tmp_path)
    lab.publish(stable=b"first")
    assert lab.ours() == lab.reference() == {"stable": b"first"}
    return lab


def test_an_update_is_found(lab: Lab) -> None:
    lab.publish(stable=b"second", edge=b"third")
    assert lab.ours() == lab.reference() == {"stable": b"second", "edge": b"third"}


def test_nothing_new_is_no_error(lab: Lab) -> None:
    before = dict(lab.files)
    assert lab.ours() == lab.reference() == {"stable": b"first"}
    assert lab.files == before


def rotate(lab: Lab, signers: tuple[bytes, ...] = ()) -> Keys:
    """New keys for all roles, signed by the old root keys and the new ones."""
    new = release_keys.make(lab.place / f"keys-{lab.repository.root.version}")
    public = {role: new.public(role) for role in ROLES}
    root = release_repository.make_root(
        lab.repository.root.version + 1,
        public,
        2,
        signers or (*lab.keys.of("root"), *new.of("root")),
    )
    release_repository.rotate(lab.repository, root, new)
    lab.keys = new
    return new


def test_all_keys_are_replaced_three_times(lab: Lab) -> None:
    for _ in range(3):
        rotate(lab)
    lab.publish(stable=b"second")
    assert lab.ours() == lab.reference() == {"stable": b"second"}
    assert lab.repository.root.version == 4


def test_after_new_keys_for_timestamps_versions_may_begin_anew(lab: Lab) -> None:
    """Somebody with the old key may have signed the highest version there is."""
    lab.repository.versions["timestamp"] = 1 << 40
    lab.repository.versions["snapshot"] = 1 << 40
    lab.publish()
    assert lab.ours() == lab.reference() == {"stable": b"first"}
    rotate(lab)
    lab.repository.versions["timestamp"] = 1
    lab.repository.versions["snapshot"] = 1
    lab.publish(stable=b"second")
    assert lab.ours() == lab.reference() == {"stable": b"second"}


def other_keys(lab: Lab) -> None:
    """Everything signed by somebody else's keys."""
    other = Lab(lab.place / "other")
    other.repository.versions = dict.fromkeys(ROLES[1:], 50)
    other.publish(stable=b"evil")
    replace(lab, other.place / "repo")


def one_root_key(lab: Lab) -> None:
    """A root signed by one of the three keys, where two are needed."""
    new = release_keys.make(lab.place / "evil")
    public = {role: new.public(role) for role in ROLES}
    root = release_repository.make_root(2, public, 1, (lab.keys.of("root")[0], *new.of("root")))
    (lab.place / "repo/metadata/2.root.json").write_bytes(root)


def root_without_its_own(lab: Lab) -> None:
    """A root signed by the old keys alone."""
    new = release_keys.make(lab.place / "evil")
    public = {role: new.public(role) for role in ROLES}
    root = release_repository.make_root(2, public, 2, lab.keys.of("root"))
    (lab.place / "repo/metadata/2.root.json").write_bytes(root)


def root_of_another_version(lab: Lab) -> None:
    public = {role: lab.keys.public(role) for role in ROLES}
    root = release_repository.make_root(3, public, 2, lab.keys.of("root"))
    (lab.place / "repo/metadata/2.root.json").write_bytes(root)


def root_expired(lab: Lab) -> None:
    public = {role: lab.keys.public(role) for role in ROLES}
    root = release_repository.make_root(
        2, public, 2, lab.keys.of("root"), days=1, now=NOW - 3 * DAY_S
    )
    (lab.place / "repo/metadata/2.root.json").write_bytes(root)


def same_signature_twice(lab: Lab) -> None:
    """One key's signature under the same name twice does not make two."""
    public = {role: lab.keys.public(role) for role in ROLES}
    root = release_repository.make_root(2, public, 2, lab.keys.of("root")[:1])
    document = json.loads(root)
    document["signatures"] *= 2
    (lab.place / "repo/metadata/2.root.json").write_text(json.dumps(document))


def expired(lab: Lab) -> None:
    lab.publish(days=1, now=NOW - 3 * DAY_S, stable=b"old")


def expired_timestamp(lab: Lab) -> None:
    release_repository.publish(
        lab.repository, lab.keys, days=1, only=("timestamp",), now=NOW - 3 * DAY_S
    )


def replayed(lab: Lab) -> None:
    """All of an older state, with valid signatures."""
    shutil.copytree(lab.place / "repo", lab.place / "before")
    lab.publish(stable=b"second")
    assert lab.ours() == lab.reference() == {"stable": b"second"}
    replace(lab, lab.place / "before")


def replayed_snapshot(lab: Lab) -> None:
    """A new timestamp, signed by its key, that names an older snapshot."""
    lab.publish(stable=b"second")
    assert lab.ours() == lab.reference() == {"stable": b"second"}
    lab.repository.versions["snapshot"] -= 1
    release_repository.publish(lab.repository, lab.keys, only=("timestamp",))


def replayed_targets(lab: Lab) -> None:
    """New timestamp and snapshot, signed by their keys, that name older targets."""
    lab.publish(stable=b"second")
    assert lab.ours() == lab.reference() == {"stable": b"second"}
    lab.repository.versions["targets"] -= 1
    release_repository.publish(lab.repository, lab.keys, only=("snapshot", "timestamp"))


def mixed_targets(lab: Lab) -> None:
    """The targets of another time under the name of those that are signed for."""
    old = lab.path("targets").read_bytes()
    lab.publish(stable=b"second")
    lab.path("targets").write_bytes(old)


def mixed_snapshot(lab: Lab) -> None:
    old = lab.path("snapshot").read_bytes()
    lab.publish(stable=b"second")
    lab.path("snapshot").write_bytes(old)


def wrong_role(lab: Lab) -> None:
    """Signed by the right key, for another role."""
    lab.publish(stable=b"second")
    lab.path("timestamp").write_bytes(lab.path("snapshot").read_bytes())


def signed_by_another_role(lab: Lab) -> None:
    """The key of snapshots signs targets."""
    private = {**lab.keys.private, "targets": lab.keys.of("snapshot")}
    evil = Keys(private, "evil")
    root = lab.repository.root
    names = dict(root.roles) | {"targets": root.roles["snapshot"]}
    lab.repository.root = type(root)(root.version, root.expires, root.keys, names, True)
    lab.repository.add("channels/stable.json", b"evil")
    release_repository.publish(lab.repository, evil)


def truncated(lab: Lab) -> None:
    lab.publish(stable=b"second")
    path = lab.path("targets")
    path.write_bytes(path.read_bytes()[:-20])


def empty_timestamp(lab: Lab) -> None:
    lab.path("timestamp").write_bytes(b"")


def huge_timestamp(lab: Lab) -> None:
    lab.publish(stable=b"second")
    path = lab.path("timestamp")
    path.write_bytes(path.read_bytes() + b" " * (1 << 20))


def huge_root(lab: Lab) -> None:
    path = lab.place / "repo/metadata/2.root.json"
    path.write_bytes(lab.root + b" " * (1 << 20))


def nested_deeply(lab: Lab) -> None:
    lab.path("timestamp").write_bytes(b'{"signed":' + b"[" * 8000 + b"]" * 8000 + b"}")


def missing(lab: Lab) -> None:
    lab.publish(stable=b"second")
    lab.path("snapshot").unlink()


def replace(lab: Lab, by: Path) -> None:
    """What is served is another directory's from now on."""
    shutil.rmtree(lab.place / "repo")
    shutil.copytree(by, lab.place / "repo")


ATTACKS: tuple[Callable[[Lab], None], ...] = (
    other_keys, one_root_key, root_without_its_own, root_of_another_version, root_expired,
    same_signature_twice, expired, expired_timestamp, replayed, replayed_snapshot, replayed_targets,
    mixed_targets, mixed_snapshot, wrong_role, signed_by_another_role, truncated, empty_timestamp,
    huge_timestamp, huge_root, nested_deeply, missing,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_is_refused_by_both(lab: Lab, attack: Callable[[Lab], None]) -> None:
    attack(lab)
    with pytest.raises(REFUSED):
        lab.ours()
    with pytest.raises((RepositoryError, DownloadError, RecursionError)):
        lab.reference()


@pytest.mark.parametrize(
    "attack",
    # That one is a root like any other: the next one has to follow it.
    [attack for attack in ATTACKS if attack is not root_expired],
    ids=lambda attack: attack.__name__,
)
def test_a_machine_recovers_once_the_attack_ends(
    lab: Lab, attack: Callable[[Lab], None], tmp_path: Path
) -> None:
    """What was refused has left nothing behind that would refuse the truth."""
    shutil.copytree(tmp_path / "repo", tmp_path / "good")
    versions = dict(lab.repository.versions)
    root = lab.repository.root
    attack(lab)
    with pytest.raises(REFUSED):
        lab.ours()
    shutil.rmtree(tmp_path / "repo")
    shutil.copytree(tmp_path / "good", tmp_path / "repo")
    lab.repository.root = root
    lab.repository.versions = {name: version + 100 for name, version in versions.items()}
    lab.publish(stable=b"truth")
    assert lab.ours() == {"stable": b"truth"}


def test_a_flipped_bit_anywhere_is_never_accepted_as_something_else(lab: Lab) -> None:
    """Of every file that a client reads: what comes out is refused, or what was signed."""
    lab.publish(stable=b"second")
    before = dict(lab.files)
    source = random.Random(5)
    refused = 0
    paths = [lab.path(role) for role in ("timestamp", "snapshot", "targets")]
    for _ in range(200):
        path = source.choice(paths)
        good = path.read_bytes()
        bad = bytearray(good)
        bad[source.randrange(len(bad))] ^= 1 << source.randrange(8)
        path.write_bytes(bad)
        lab.files = dict(before)
        try:
            assert lab.ours() == {"stable": b"second"}
        except OrlopError:
            refused += 1
        path.write_bytes(good)
    # The others are in white space, or in something that no client reads.
    assert refused > 150


def test_clock(lab: Lab) -> None:
    """In 2099 everything has expired, and the message says what this machine takes for now."""
    with pytest.raises(Forbidden, match=r"expired on .*this machine has 2099-01-01T00:00:00Z"):
        lab.ours(now=4070908800)
    assert lab.ours() == {"stable": b"first"}


def test_damaged_files_of_our_own_are_fetched_again(lab: Lab) -> None:
    lab.files["snapshot"] = b"{}"
    lab.files["timestamp"] = b"\xff"
    assert lab.ours() == {"stable": b"first"}
