"""What is asked of an installation, how it is followed, and when it begins by itself."""

from __future__ import annotations

import asyncio
import base64
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from orlop.lib.errors import Conflict, InvalidArgument
from orlop.system.config.configuration import Configuration
from orlop.system.install import unattended
from orlop.system.install.install import Job, Request, effective, parse_request
from orlop.system.install.unattended import request_of, wanted_disks
from orlop.system.network import online

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

SHA = "a" * 64


def test_a_request() -> None:
    body = {"disk": "virtio-x", "config": "", "wipe": True, "then": "reboot", "append": "a=b"}
    assert parse_request(body) == Request(
        ("virtio-x",), config="", wipe=True, then="reboot", append="a=b"
    )
    assert parse_request({"disk": "x", "mirror": "y"}) == Request(("x",), mirror=("y",))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"disk": []},
        {"disk": [1]},
        {"disk": "x", "wipe": "yes"},
        {"disk": "x", "colour": "red"},
        {"disk": "x", "then": "sleep"},
        {"disk": "x", "image_sha256": "abc"},
        {"disk": "x", "append": "a\nb"},
        {"disk": "x", "config": "", "config_url": "https://x.example/y"},
        {"disk": "x", "unattended": "yes"},
        {"disk": "x", "mirror": []},
        {"disk": "x", "mirror": "y", "keep_state": True},
    ],
)
def test_what_is_no_request(body: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        parse_request(body)


KEY = base64.b64encode(b"correct horse").decode()


@pytest.mark.parametrize(
    "more",
    [
        {"encrypt": "passphrase", "key": KEY},
        {"encrypt": "tpm", "recovery_key": KEY},
        {"encrypt": "tpm", "key": KEY, "recovery_key": KEY},
        {"encrypt": "keyfile", "key_file": "LABEL=KEYS:/a/state.key"},
        {"keep_state": True, "key": KEY},
    ],
)
def test_an_encrypted_state(more: dict[str, object]) -> None:
    request = parse_request({"disk": "x", **more})
    assert KEY not in repr(request)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"encrypt": "magic"}, "encrypt: passphrase, keyfile, tpm"),
        ({"encrypt": "passphrase"}, "a passphrase is needed"),
        ({"encrypt": "passphrase", "key": "?"}, "Base64"),
        ({"encrypt": "passphrase", "key": base64.b64encode(b"a\nb").decode()}, "one line"),
        ({"encrypt": "tpm"}, "another key"),
        ({"encrypt": "keyfile", "key": KEY}, "key_file: needed"),
        ({"encrypt": "tpm", "key": KEY, "key_file": "LABEL=K:/k"}, "key_file: needed"),
        ({"encrypt": "keyfile", "key_file": "LABEL=K:/../k"}, "DISK:/FILE"),
        ({"encrypt": "keyfile", "key_file": "LABEL=K:/k quiet"}, "DISK:/FILE"),
        ({"encrypt": "tpm", "key": KEY, "keep_state": True}, "not encrypted anew"),
        ({"key": KEY}, "only with encrypt"),
        ({"recovery_key": KEY}, "only with encrypt"),
    ],
)
def test_what_is_no_encrypted_state(more: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        parse_request({"disk": "x", **more})


def test_the_keys_of_an_installation_without_a_person() -> None:
    said: dict[str, Json] = {"encrypt": "tpm", "passphrase": "correct horse", "mirror": ["ID=y"]}
    configuration = Configuration(data={"orlop": {"install": said}})
    request = request_of(configuration, ("SERIAL=x",))
    assert (request.encrypt, request.key, request.unattended) == ("tpm", KEY, True)
    assert request.mirror == ("ID=y",)


def test_what_the_machine_was_told_without_the_installation() -> None:
    data: dict[str, Json] = {
        "hostname": "ship",
        "orlop": {"install": {"disk": ["x"]}, "time": {"servers": []}},
    }
    expected = {"hostname": "ship", "orlop": {"time": {"servers": []}}}
    assert json.loads(effective(data)) == expected
    nothing: dict[str, Json] = {"orlop": {"install": {"disk": ["x"]}}}
    assert effective(nothing) == ""


def test_everybody_who_follows_hears_the_end_and_each_step() -> None:
    async def scenario() -> None:
        job = Job(Request(("x",)))
        early: list[str] = []

        async def listen() -> None:
            async for event in job.follow():
                early.append(str(event.get("text")))
                await asyncio.sleep(0)

        listener = asyncio.create_task(listen())
        job.say({"step": "a", "text": "a 0"})
        for number in range(1, 100):
            job.say({"step": "a", "text": f"a {number}"})
            await asyncio.sleep(0)
        job.say({"text": "done"})
        job.end()
        await asyncio.wait_for(listener, 60)
        assert early[-2:] == ["a 99", "done"]
        late = [event["text"] async for event in job.follow()]
        assert late == ["a 99", "done"]

    asyncio.run(scenario())


def configuration(install: dict[str, Json], source: str = "") -> Configuration:
    cloud: dict[str, Json] = {"source": source} if source else {}
    return Configuration(data={"orlop": {"install": install}}, cloud=cloud)


TOLD = configuration({"disk": ["ID=x"]})
NOTHING = configuration({})
URL = "quiet orlop.config.url=http://192.0.2.1/x"


@pytest.mark.parametrize(
    ("config", "parameter", "line", "has_state", "expected"),
    [
        (TOLD, None, "", False, ("ID=x",)),
        (TOLD, None, "", True, ()),
        (TOLD, False, "", False, ()),
        (NOTHING, None, "", False, ()),
        (NOTHING, True, "", False, ("only",)),
        (NOTHING, True, URL, False, ()),
        (configuration({}, "url"), True, URL, False, ("only",)),
        (configuration({"disk": ["ID=x"]}, "url"), True, URL, False, ("ID=x",)),
    ],
)
def test_when_it_begins_by_itself(
    config: Configuration,
    *,
    parameter: bool | None,
    line: str,
    has_state: bool,
    expected: tuple[str, ...],
) -> None:
    assert wanted_disks(config, parameter, line, has_state=has_state) == expected


@pytest.mark.parametrize("image", ["", "http://192.0.2.1/orlop.iso"])
def test_an_image_from_a_server_waits_for_the_network(
    monkeypatch: pytest.MonkeyPatch, image: str
) -> None:
    """A machine installs itself once in a boot: too early would be never."""
    done: list[str] = []

    async def wait(_limit_s: float) -> bool:
        done.append("online")
        return True

    async def begin(request: Request) -> Job:
        done.append(f"begin {request.image}")
        raise Conflict("enough")

    monkeypatch.setattr(online, "wait", wait)
    config = configuration({"disk": ["ID=x"], "image": image})
    actions = SimpleNamespace(installer=SimpleNamespace(begin=begin))
    machine = SimpleNamespace(warn=lambda _: None)
    boot = SimpleNamespace(config=SimpleNamespace(current=config, actions=actions), machine=machine)
    asyncio.run(unattended.run(cast("Boot", boot), ("ID=x",)))
    assert done == [*(["online"] if image else []), f"begin {image}"]


def test_what_the_configuration_asks_for() -> None:
    told = configuration(
        {
            "disk": ["only"],
            "wipe": True,
            "config": {"hostname": "ship"},
            "image": "http://192.0.2.1/orlop.iso",
            "image_sha256": SHA,
        }
    )
    found = request_of(told, ("only",))
    assert (found.wipe, found.then, found.image_sha256) == (True, "reboot", SHA)
    assert json.loads(found.config or "") == {"hostname": "ship"}
    assert found.unattended
    assert request_of(TOLD, ("ID=x",)).config is None
