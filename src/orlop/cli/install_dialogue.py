"""The questions of `orlop install`: which disk, how to log in, and whether it is meant."""

from __future__ import annotations

import os

from orlop.cli import install_keys
from orlop.cli.answers import Object, get_object, number_of, strings_of, text_of
from orlop.cli.install import TARGET, configuration, disks_of, follow, state, table
from orlop.cli.json_text import encode
from orlop.cli.text import printable, size
from orlop.lib.errors import Cancelled, InvalidArgument, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments
    from orlop.cli.client import Client

ROOT = "root"


def run(client: Client, request: Object, arguments: Arguments | None = None) -> int:
    """Ask for what *request* lacks, install, and maybe start the machine again.

    Raises:
        Cancelled: the person does not want it. OrlopError: it has failed.
    """
    keeps = request.get("keep_state") is True
    found = disks_of(get_object(client, TARGET))
    disk = choose(found, text_of(request, "disk"), keeps_state=keeps)
    request["disk"] = text_of(disk, "id")
    ask_about_content(disk, request, may_keep="mirror" not in request)
    mirror = None if request.get("keep_state") else choose_mirror(found, disk, request)
    if mirror is not None:
        request["mirror"] = text_of(mirror, "id")
        ask_about_content(mirror, request, may_keep=False)
    if not {"config", "config_url", "keep_state"} & request.keys():
        request |= ask_for_configuration(client)
    recovery = ask_about_encryption(disk, request, arguments)
    if not request.get("dry_run"):
        confirm(disk, *([] if mirror is None else [mirror]))
    if recovery:
        print(install_keys.text(recovery))
    status = follow(client.request("POST", TARGET, request), as_json=False)
    if status == 0 and request.get("then") == "stay" and not request.get("dry_run"):
        print("Take the medium out, so that the machine starts from the disk.")
        if yes("Start it again now?", default=False):
            client.post("/orlop/reboot")
    return status


def choose(disks: list[Object], wanted: str, *, keeps_state: bool = False) -> Object:
    """The disk that the person wants, or that *wanted* is the name of; also the one that this
    machine's state is on, if that is kept.

    Raises:
        OrlopError: there is none to install on.
    """
    usable = [
        disk
        for disk in disks
        if not text_of(disk, "problem")
        and (not text_of(disk, "busy") or (keeps_state and disk.get("is_running_system") is True))
    ]
    if not usable:
        raise OrlopError("there is no disk to install on", hint="orlop install --list says why")
    print(table(disks))
    while True:
        word = wanted or ask(f"\nInstall on which disk (1-{len(disks)}, or its id)? ")
        found = [
            disk
            for number, disk in enumerate(disks, 1)
            if word in (str(number), text_of(disk, "name"), text_of(disk, "device"))
            or word in strings_of(disk, "ids")
        ]
        if len(found) == 1 and found[0] in usable:
            return found[0]
        why = f"{word}: {state(found[0])}" if len(found) == 1 else f"{word}: no disk of the list"
        if wanted:
            raise InvalidArgument(why)
        print(printable(why))


def choose_mirror(disks: list[Object], first: Object, request: Object) -> Object | None:
    """The disk that is to have what *first* has, if the person wants one.

    Raises:
        InvalidArgument: the one that *request* names cannot be used.
    """
    wanted = text_of(request, "mirror")
    others = [
        (number, disk)
        for number, disk in enumerate(disks, 1)
        if disk is not first and not (text_of(disk, "problem") or text_of(disk, "busy"))
    ]
    while wanted or others:
        question = "\nMirror everything on a second disk (its number or id; empty: no)? "
        word = wanted or ask(question)
        if not word:
            return None
        for number, disk in others:
            names = (str(number), text_of(disk, "name"), text_of(disk, "device"))
            if word in names or word in strings_of(disk, "ids"):
                return disk
        if wanted:
            raise InvalidArgument(f"{wanted}: not another disk of the list that can be used")
        print(printable(f"{word}: not another disk of the list that can be used"))
    return None


def ask_about_content(disk: Object, request: Object, *, may_keep: bool = True) -> None:
    """Show what is on the disk, and ask what is to become of it."""
    found = strings_of(disk, "found")
    name = f"{text_of(disk, 'device')}, {size(number_of(disk, 'size_bytes'))}"
    print(f"\n{name}: {text_of(disk, 'model') or 'model unknown'}, {text_of(disk, 'id')}")
    if not found:
        print("There is nothing on it.")
        return
    print("On it:")
    for text in found:
        print(f"  {printable(text)}")
    if request.get("wipe") or request.get("keep_state"):
        return
    question = "Keep the state of this installation?"
    if may_keep and disk.get("has_state") is True and yes(question, default=True):
        request["keep_state"] = True
    elif text_of(disk, "content") != "unfinished" or disk.get("has_state") is True:
        if not yes("All of this will be lost. Go on?", default=False):
            raise Cancelled("nothing has been changed")
        request["wipe"] = True


def ask_about_encryption(disk: Object, request: Object, arguments: Arguments | None) -> str:
    """Ask whether the state is to be encrypted, or what opens the one that is kept.

    The recovery key, if one has been made.
    """
    if request.get("keep_state"):
        recovery = install_keys.complete(request, arguments)
        if disk.get("is_locked") is True and not text_of(disk, "busy") and "key" not in request:
            install_keys.add(request, install_keys.ask_once(text_of(disk, "device")))
        return recovery
    ways = ", ".join(install_keys.KINDS)
    while "encrypt" not in request and (word := ask(f"\nEncrypt the state ({ways}; empty: no)? ")):
        if word in install_keys.KINDS:
            request["encrypt"] = word
    if request.get("encrypt") == "keyfile" and "key_file" not in request:
        request["key_file"] = ask("Where is the key file, such as LABEL=KEYS:/state.key? ")
    return install_keys.complete(request, arguments)


def ask_for_configuration(client: Client) -> Object:
    """What the installed machine is to be told.

    The document is this machine's, a file's, or made of the answers.
    """
    told = get_object(client, "/orlop/config?secrets=hide").get("config")
    own = told.get("orlop") if isinstance(told, dict) else None
    if isinstance(told, dict) and (set(told) - {"orlop"} or (isinstance(own, dict) and own)):
        print(f"\nThis machine has been told: {', '.join(sorted(map(str, told)))}.")
        if yes("Tell the installed machine the same?", default=True):
            return {}
    while word := ask("\nConfiguration (file or https://...; empty: a few questions): "):
        try:
            return configuration(word)
        except OrlopError as error:
            print(printable(str(error)))
    return {"config": document(), "config_name": "your answers"}


def document() -> str:
    """A configuration made of answers: name, key, password."""
    found: Object = {}
    if name := ask("Host name (empty: by DHCP): "):
        found["hostname"] = name
    keys = []
    while key := ask("SSH public key for root and rancher (empty: no more): "):
        keys.append(key)
    if keys:
        found["ssh_authorized_keys"] = keys
    if hashed := ask_password():
        found["users"] = ["default", {"name": ROOT, "hashed_passwd": hashed}]
    if not keys:
        print("Nobody will be able to log in over SSH.")
    return f"{encode(found)}\n" if found else ""


def ask_password() -> str:
    """The hash of root's password; empty without one."""
    from orlop.lib.password_hash import ask as ask_unseen
    from orlop.lib.passwords import hash_password

    while True:
        password = ask_unseen("Password of root at the console (empty: none): ")
        if not password:
            return ""
        if ask_unseen("Once more: ") == password:
            return hash_password(password)
        print("The two are different.")


def confirm(*disks: Object) -> None:
    """Let the person type the name of the disk, or the names of both.

    Raises:
        Cancelled: it was something else.
    """
    name = " ".join(text_of(disk, "name") for disk in disks)
    what = f"the disk, {name}, to install on it" if len(disks) == 1 else f"both disks, {name}"
    if ask(f"\nType the name of {what}: ").split() != name.split():
        raise Cancelled("nothing has been changed")


def yes(question: str, *, default: bool) -> bool:
    """The answer to a question of yes and no."""
    word = ask(f"{question} [{'Y/n' if default else 'y/N'}] ").lower()
    return default if not word else word.startswith("y")


def ask(question: str) -> str:
    """A line of the terminal.

    Raises:
        Cancelled: it has been closed.
    """
    print(question, end="", flush=True)
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(0, 4096)
        if not data:
            raise Cancelled("nothing has been changed")
        line += data
    return line.decode("utf-8", "replace").strip()
