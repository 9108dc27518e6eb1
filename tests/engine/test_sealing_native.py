"""Keys that a TPM seals, with an emulated TPM, tpm2-tools and cryptsetup as the second opinion."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from orlop.engine import worker_process
from orlop.image.pcr_policy import MEASURE
from orlop.lib.children import Children, run_with_children
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, OrlopError
from orlop.system.storage import extras, sealing, tpm_lock, unlocking
from orlop.system.storage.block_devices import Volume
from orlop.system.storage.sealing import QUICK, Request
from orlop.system.storage.superblock import LUKS, Superblock
from orlop.system.storage.tpm import Tpm, connect
from orlop.system.storage.tpm_worker import KEY_FILE, SIGNATURE_FILE
from orlop.wire import tpm as wire
from orlop.wire.luks_header import Token, make_token
from tests.engine.emulated_tpm import Chip, emulated

pytestmark = [pytest.mark.engine, pytest.mark.root]

KEY = b"correct horse"
SECRET = bytes(range(32))
DISK_BYTES = 20 << 20


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[Chip]:
    with emulated(tmp_path) as found:
        yield found


def seal(chip: Chip, secret: bytes = SECRET, pcrs: tuple[int, ...] = (7,)) -> tuple[Token, bytes]:
    descriptor = connect(chip.path)
    try:
        return Tpm(descriptor).seal(secret, "1", pcrs)
    finally:
        os.close(descriptor)


def unseal(chip: Chip, token: Token) -> bytes:
    descriptor = connect(chip.path)
    try:
        return Tpm(descriptor).unseal(token)
    finally:
        os.close(descriptor)


def test_what_is_sealed_opens_until_a_register_changes(chip: Chip) -> None:
    token, digest = seal(chip)
    chip.tool("pcrread", "sha256:7,15 -o values")
    assert digest == _policy((chip.work / "values").read_bytes())
    for _ in range(4):  # nothing stays behind in the TPM, which has room for three
        assert unseal(chip, token) == SECRET
    chip.extend(7, b"other keys")
    with pytest.raises(wire.TpmError, match="is not what it was") as caught:
        unseal(chip, token)
    assert caught.value.code == wire.POLICY_FAIL
    again, _ = seal(chip)
    assert unseal(chip, again) == SECRET


def test_after_a_boot_nobody_has_it_and_it_can_be_sealed_again(
    chip: Chip, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, digest = seal(chip)
    monkeypatch.setattr(os, "open", lambda path, _flags: connect(path))
    assert tpm_lock.lock(chip.path)
    monkeypatch.undo()
    chip.tool("pcrread", "sha256:15 -o value")
    extended = hashlib.sha256(bytes(32) + b"the state of an Orlop is open".ljust(32, b"\0"))
    assert (chip.work / "value").read_bytes() == extended.digest()
    with pytest.raises(wire.TpmError, match="is not what it was"):
        unseal(chip, token)
    again, same = seal(chip)
    assert same == digest
    with pytest.raises(wire.TpmError, match="is not what it was"):
        unseal(chip, again)
    chip.reset()
    assert unseal(chip, token) == SECRET
    assert unseal(chip, again) == SECRET


def _policy(values: bytes) -> bytes:
    """TPM2_PolicyPCR, part 3, of PCR 7 and 15."""
    selection = bytes.fromhex("00000001 000b 03 808000")
    digest = hashlib.sha256(values).digest()
    return hashlib.sha256(bytes(32) + bytes.fromhex("0000017f") + selection + digest).digest()


def test_tpm2_tools_open_what_we_seal(chip: Chip) -> None:
    token, _ = seal(chip, pcrs=(7, 11))
    (chip.work / "public").write_bytes(wire.sized(token.sealed.public))
    (chip.work / "private").write_bytes(wire.sized(token.sealed.private))
    _primary(chip)
    chip.tool("load", "-C primary -u public -r private -c sealed")
    chip.tool("flushcontext", "-t")
    assert chip.tool("unseal", "-c sealed -p pcr:sha256:7,11,15") == SECRET


@pytest.mark.parametrize("keep", [False, True], ids=["derived", "kept in the TPM"])
def test_we_open_what_tpm2_tools_seal(chip: Chip, *, keep: bool) -> None:
    _primary(chip)
    if keep:
        # Of another template, so that it is the only one that fits.
        chip.tool("createprimary", "-Q -C o -g sha256 -G ecc -c primary")
        chip.tool("flushcontext", "-t")
        chip.tool("evictcontrol", "-Q -C o -c primary 0x81000001")
    chip.tool("startauthsession", "-S session")
    chip.tool("policypcr", "-Q -S session -l sha256:7 -L policy")
    chip.tool("flushcontext", "session")
    words = "-Q -C primary -g sha256 -u public -r private -a fixedtpm|fixedparent -L policy -i-"
    chip.tool("create", words, SECRET)
    chip.tool("flushcontext", "-t")
    blob = (chip.work / "private").read_bytes() + (chip.work / "public").read_bytes()
    token = Token(("1",), wire.read_sealed(wire.Reader(blob)), (7,), "sha256", "ecc")
    assert unseal(chip, token) == SECRET
    chip.extend(7, b"other keys")
    with pytest.raises(wire.TpmError, match="is not what it was"):
        unseal(chip, token)


def _primary(chip: Chip) -> None:
    """Of the template that systemd and we use, by tpm2-tools."""
    words = (
        "-Q -C o -g sha256 -G ecc256:aes128cfb -c primary "
        "-a restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda"
    )
    chip.tool("createprimary", words)
    chip.tool("flushcontext", "-t")


def test_another_tpm_does_not_open_it(chip: Chip) -> None:
    token, _ = seal(chip)
    chip.tool("clear", "")  # it has other seeds then
    with pytest.raises(wire.TpmError, match="another TPM"):
        unseal(chip, token)


def test_registers_that_say_nothing_are_refused(chip: Chip) -> None:
    with pytest.raises(Conflict, match="measured nothing"):
        seal(chip, pcrs=(8, 9))
    token, _ = seal(chip, pcrs=(7, 8))
    assert unseal(chip, token) == SECRET


@pytest.fixture
def disk(tmp_path: Path, chip: Chip, monkeypatch: pytest.MonkeyPatch) -> str:
    """An encrypted file with a passphrase, and the extras' programs from the tool root."""

    async def modules(children: Children, names: object) -> None:
        pass

    async def there() -> None:
        pass

    monkeypatch.setattr(extras, "load_modules", modules)
    monkeypatch.setattr(extras, "ensure", there)
    monkeypatch.setattr(extras, "program", shutil.which)
    monkeypatch.setattr(extras, "ENVIRONMENT", {"LANG": "C.UTF-8", "PATH": os.defpath})
    monkeypatch.setattr(sealing, "TPM", chip.path)
    path = tmp_path / "disk"
    with path.open("wb") as stream:
        stream.truncate(DISK_BYTES)
    _cryptsetup("luksFormat", "--type", "luks2", *QUICK, "--key-file", "-", str(path), data=KEY)
    return str(path)


def _cryptsetup(*arguments: str, data: bytes = b"") -> bytes:
    command = ["cryptsetup", "-q", *arguments]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def _opens(disk: str, key: bytes) -> bool:
    command = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", disk]
    return subprocess.run(command, input=key, check=False).returncode == 0


def _metadata(disk: str) -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = json.loads(
        _cryptsetup("luksDump", "--dump-json-metadata", disk)
    )
    return found


def _change(request: Request) -> object:
    return run_with_children(lambda children: sealing.change(children, request, ""))


def _key(disk: str) -> bytes:
    with sealing.in_memory() as file:
        found = run_with_children(lambda children: sealing.unseal(children, disk, file))
        key = Path(file).read_bytes()
    assert found == bool(key)
    return key


def test_a_disk_is_sealed_and_sealed_again(disk: str, chip: Chip) -> None:
    assert _key(disk) == b""
    done = {"device": disk, "slot": "1", "pcrs": [7], "signed": False}
    assert _change(Request(disk, KEY)) == done
    key = _key(disk)
    assert len(base64.b64decode(key)) == 32
    assert _opens(disk, key)
    chip.extend(7, b"other keys")
    with pytest.raises(Conflict, match="is not what it was"):
        _key(disk)
    _change(Request(disk, KEY, (7,)))
    assert _opens(disk, _key(disk))
    assert not _opens(disk, key)
    assert _opens(disk, KEY)
    found = _metadata(disk)
    assert sorted(found["keyslots"]) == ["0", "2"]
    [token] = found["tokens"].values()
    assert (token["type"], token["keyslots"]) == ("systemd-tpm2", ["2"])
    assert token["tpm2-pcrs"] == [7, 15]


def test_the_key_does_not_pass_through_the_memory_of_who_asks(
    disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _change(Request(disk, KEY))
    said: list[bytes] = []
    read = worker_process._read

    async def listen(descriptor: int) -> bytes:
        said.append(await read(descriptor))
        return said[-1]

    monkeypatch.setattr(worker_process, "_read", listen)
    assert _opens(disk, _key(disk))
    assert json.loads(b"".join(said)) == {"found": True}


@dataclass(frozen=True, slots=True)
class Images:
    """What a machine is started with: its TPM, and where what the image brings is kept."""

    chip: Chip
    folder: Path

    def start(self, content: bytes, signer: str, signed: bytes | None = None) -> None:
        """As systemd's stub does it, an image of *content*, signed by *signer* for *signed*."""
        self.chip.reset()
        for part in (b".linux\0", content):
            self.chip.extend(11, part)
        for name in (KEY_FILE, SIGNATURE_FILE):
            (self.folder / name).unlink(missing_ok=True)
        if signer:
            key = self._key(signer)
            (self.folder / KEY_FILE).write_bytes(key.with_suffix(".pub").read_bytes())
            measured = content if signed is None else signed
            (self.folder / SIGNATURE_FILE).write_bytes(self._sign(key, measured))

    def _key(self, name: str) -> Path:
        path = self.chip.work / f"{name}.key"
        if not path.exists():
            words = ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
            public = path.with_suffix(".pub")
            subprocess.run(["openssl", *words, "-out", path], check=True)
            subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-out", public], check=True)
        return path

    def _sign(self, key: Path, content: bytes) -> bytes:
        linux = self.chip.work / "linux"
        linux.write_bytes(content)
        words = [f"--private-key={key}", f"--public-key={key.with_suffix('.pub')}"]
        words += [f"--linux={linux}", "--bank=sha256", "--phase=:"]
        return subprocess.run([MEASURE, "sign", *words], check=True, capture_output=True).stdout


@pytest.fixture
def images(chip: Chip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    folder = tmp_path / "extra"
    folder.mkdir()
    monkeypatch.setattr(sealing, "POLICY", str(folder))
    return Images(chip, folder)


def test_each_image_that_is_signed_with_the_key_opens_it_and_no_other(
    disk: str, images: Images
) -> None:
    """The signatures are made by systemd-measure, over what the emulated TPM has measured."""
    images.start(b"the first", "own")
    done = _change(Request(disk, KEY))
    assert done == {"device": disk, "slot": "1", "pcrs": [7], "signed": True}
    key = _key(disk)
    assert _opens(disk, key)
    [token] = _metadata(disk)["tokens"].values()
    assert (token["tpm2-pcrs"], token["tpm2_pubkey_pcrs"]) == ([7, 15], [11])
    images.start(b"its update", "own")
    assert _key(disk) == key
    for content, signer, signed in (
        (b"a stranger's", "stranger", None),
        (b"altered", "own", b"its update"),  # with the signature of another
    ):
        images.start(content, signer, signed)
        with pytest.raises(Conflict, match="not signed with the key that is wanted"):
            _key(disk)
    images.start(b"not signed", "")
    with pytest.raises(Conflict, match="no signatures"):
        _key(disk)
    images.start(b"its update", "own")
    images.chip.extend(7, b"other keys")
    with pytest.raises(Conflict, match="is not what it was"):
        _key(disk)


def test_a_forged_signature_opens_nothing(disk: str, images: Images) -> None:
    images.start(b"the first", "own")
    _change(Request(disk, KEY))
    images.start(b"altered", "own")
    path = images.folder / SIGNATURE_FILE
    document = json.loads(path.read_text())
    signature = bytearray(base64.b64decode(document["sha256"][0]["sig"]))
    signature[-1] ^= 1
    document["sha256"][0]["sig"] = base64.b64encode(signature).decode()
    path.write_text(json.dumps(document))
    with pytest.raises(Conflict, match="the signature is wrong"):
        _key(disk)


def test_what_runs_without_a_good_signature_is_sealed_to_registers_alone(
    disk: str, images: Images
) -> None:
    """A signed image that is started by BIOS, or for recovery; or who names the register."""
    for content, signed, pcrs in (
        (b"the first", b"another", (7,)),
        (b"the first", b"the first", (7, 11)),
    ):
        images.start(content, "own", signed)
        done = _change(Request(disk, KEY, pcrs))
        assert isinstance(done, dict)
        assert done["signed"] is False
        assert _opens(disk, _key(disk))


def test_the_tpms_key_is_taken_away(disk: str) -> None:
    with pytest.raises(NotFound, match="no key of Orlop's"):
        _change(Request(disk, remove=True))
    _change(Request(disk, KEY))
    key = _key(disk)
    _change(Request(disk, remove=True))
    assert _key(disk) == b""
    assert not _opens(disk, key)
    assert _opens(disk, KEY)
    assert _metadata(disk)["tokens"] == {}


def test_the_last_key_is_not_taken_away(disk: str) -> None:
    _change(Request(disk, KEY))
    _cryptsetup("luksKillSlot", disk, "0")
    with pytest.raises(Conflict, match="no other key"):
        _change(Request(disk, remove=True))
    assert _opens(disk, _key(disk))


def test_a_wrong_passphrase_changes_nothing(disk: str) -> None:
    before = _metadata(disk)
    with pytest.raises(OrlopError, match="this key does not open it"):
        _change(Request(disk, b"wrong"))
    assert _metadata(disk) == before


def test_what_is_not_encrypted_is_refused(disk: str, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(bytes(1 << 20))
    with pytest.raises(InvalidArgument, match="not encrypted with LUKS2"):
        _change(Request(str(tmp_path / "plain"), KEY))


def test_without_a_tpm_it_says_so(disk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only if there is something for it to open."""
    _change(Request(disk, KEY))
    monkeypatch.setattr(sealing, "TPM", "/dev/null/none")
    with pytest.raises(OrlopError, match="TPM"):
        _key(disk)
    monkeypatch.setattr(sealing, "TPM", "/none")
    with pytest.raises(Conflict, match="this machine has no TPM"):
        _key(disk)
    with pytest.raises(NotFound, match="this machine has no TPM"):
        _change(Request(disk, KEY))


def test_a_token_of_systemds_is_understood_and_kept(disk: str, chip: Chip) -> None:
    """With the fields of systemd-cryptenroll 257, and none of ours."""
    secret = os.urandom(32)
    text = base64.b64encode(secret)
    Path(f"{disk}.new").write_bytes(text)
    _cryptsetup("luksAddKey", *QUICK, "--key-file", "-", disk, f"{disk}.new", data=KEY)
    token, policy = seal(chip, secret)
    fields = make_token(token, policy)
    del fields["orlop"]
    fields |= {"tpm2-blob": [fields["tpm2-blob"]], "tpm2-policy-hash": [policy.hex()]}
    fields |= {"tpm2_pubkey_pcrs": [], "tpm2_srk": base64.b64encode(b"any").decode()}
    _cryptsetup("token", "import", disk, data=json.dumps(fields).encode())
    assert _key(disk) == text
    _change(Request(disk, KEY))
    assert len(_metadata(disk)["tokens"]) == 2
    assert _opens(disk, text)
    assert _opens(disk, _key(disk))


@dataclass
class Attempts:
    """At opening *disk* as the state, without device-mapper: keys that were tried, disks that a
    person was asked for."""

    disk: str
    opened: list[bytes] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def open(self, device: str, file: str, children: Children) -> None:
        self.opened.append(Path(file).read_bytes())
        if not _opens(device, self.opened[-1]):
            raise OrlopError("cryptsetup: this key does not open it")

    async def ask(self, device: str, children: Children) -> None:
        self.asked.append(device)
        raise Conflict("nobody gave its passphrase")

    def unlock(self, path: str = "", *, sealed: bool = False) -> tuple[str, list[str]]:
        volume = Volume(path or self.disk, Superblock(LUKS, "", ""))
        return run_with_children(partial(unlocking.unlock, volume, "", sealed=sealed))


@pytest.fixture
def attempts(disk: str, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    found = Attempts(disk)
    monkeypatch.setattr(tpm_lock, "BY_TPM", f"{disk}.opened")
    monkeypatch.setattr(unlocking, "_open", found.open)
    monkeypatch.setattr(unlocking, "_ask", found.ask)
    return found


def test_unlocking_goes_on_without_the_tpm(disk: str, chip: Chip, attempts: Attempts) -> None:
    """With its reason. Not where the TPM has to open the state."""
    _change(Request(disk, KEY))
    assert attempts.unlock(sealed=True) == (unlocking.DEVICE, [])
    os.unlink(f"{disk}.opened")
    attempts.opened.clear()
    chip.extend(7, b"other keys")
    device, said = attempts.unlock()
    assert (device, attempts.opened, os.path.exists(tpm_lock.BY_TPM)) == ("", [], False)
    assert "is not opened by the TPM: what the machine has measured" in said[0]
    assert "nobody gave its passphrase" in said[1]
    assert attempts.asked == [disk]
    assert unlocking.SEALED in attempts.unlock(sealed=True)[1][-1]
    assert attempts.asked == [disk]


@pytest.mark.parametrize("pcrs", [[7, 15], [7]])
def test_a_strangers_state_stays_closed(disk: str, attempts: Attempts, pcrs: list[int]) -> None:
    """Which may have a token of this TPM's, also one that this gives nothing for any more: nobody
    is asked for a passphrase then, as a stranger knows it."""
    stranger = f"{disk}.stranger"
    shutil.copyfile(disk, stranger)
    _cryptsetup("luksFormat", "--type", "luks2", *QUICK, "--key-file", "-", stranger, data=KEY)
    assert attempts.unlock(stranger, sealed=True)[0] == ""
    _change(Request(disk, KEY))
    [token] = _metadata(disk)["tokens"].values()
    token |= {"keyslots": ["0"], "tpm2-pcrs": pcrs}
    _cryptsetup("token", "import", stranger, data=json.dumps(token).encode())
    assert unlocking.SEALED in attempts.unlock(stranger, sealed=True)[1][-1]
    assert attempts.asked == []
    assert attempts.unlock(stranger)[0] == ""
    assert attempts.asked == [stranger]


@pytest.mark.parametrize("copies", [(0, 1), (1,)])
def test_a_header_by_which_nothing_is_encrypted_is_not_taken(
    disk: str, chip: Chip, attempts: Attempts, copies: tuple[int, ...]
) -> None:
    """The TPM's key opens it, and whatever somebody has put behind it would be the state."""
    _change(Request(disk, KEY))
    data = bytearray(Path(disk).read_bytes())
    size = int.from_bytes(data[8:16])
    for at in (size * copy for copy in copies):
        document = json.loads(data[at + 4096 : at + size].split(b"\0", 1)[0])
        document["segments"]["0"]["encryption"] = "cipher_null-ecb"
        data[at + 16 : at + 24] = (int.from_bytes(data[at + 16 : at + 24]) + 1).to_bytes(8)
        data[at + 4096 : at + size] = json.dumps(document).encode().ljust(size - 4096, b"\0")
        data[at + 448 : at + 512] = bytes(64)
        data[at + 448 : at + 480] = hashlib.sha256(data[at : at + size]).digest()
    Path(disk).write_bytes(data)
    assert _opens(disk, _key(disk))
    device, said = attempts.unlock()
    assert (device, attempts.opened, attempts.asked) == ("", [], [])
    assert "nothing is encrypted" in said[0]
