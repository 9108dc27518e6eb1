"""`final_message` and `power_state`."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from orlop.system import last_words
from orlop.system.commands import RUNCMD
from orlop.system.config.configuration import Configuration
from orlop.system.power import PowerAction


class Boot:
    """The part of PID 1 that takes part."""

    def __init__(self, *, uuid: str = "state", instance: str = "i-1", **power_state: Any) -> None:
        self.config = SimpleNamespace(
            current=Configuration({"power_state": power_state}, {"power_state.mode": "c.yml:2"}),
            actions=SimpleNamespace(instance=lambda _: instance),
        )
        self.conditions = SimpleNamespace(has_run="")
        self.machine = SimpleNamespace(state=SimpleNamespace(uuid=uuid), warn=self._warn)
        self.services = SimpleNamespace(names=lambda: [RUNCMD], wait_up=self._note("up"))
        self.engine = SimpleNamespace(wait=self._note("ended"))
        self.power = SimpleNamespace(request=lambda *words: self.done.append(words))
        self.done: list[Any] = []

    def _warn(self, text: str) -> None:
        self.done.append(text)

    def _note(self, what: str) -> Any:
        async def step(_: str) -> None:
            self.done.append(what)

        return step

    def end(self, directory: Path) -> list[Any]:
        asyncio.run(last_words.end_machine(self, ended=str(directory / "config/ended.json")))  # type: ignore[arg-type]
        return self.done


def test_the_machine_ends_once_on_an_instance(tmp_path: Path) -> None:
    request = (PowerAction.POWEROFF, "as power_state says")
    assert Boot(mode="poweroff").end(tmp_path) == ["up", "ended", request]
    assert Boot(mode="poweroff").end(tmp_path) == []
    bye = Boot(mode="reboot", instance="i-2", message="bye", delay=0).end(tmp_path)
    assert bye == ["up", "ended", (PowerAction.REBOOT, "bye")]


def test_when_it_stays_up(tmp_path: Path) -> None:
    assert Boot(mode="reboot", condition=False).end(tmp_path) == []
    assert Boot(message="bye").end(tmp_path) == []
    # Else it would boot again and again.
    [warning] = Boot(uuid="", mode="reboot").end(tmp_path)
    assert warning == "c.yml:2: configuration: power_state: nothing is kept here, ignoring"


def test_it_does_not_end_before_that_is_noted(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file in the way")
    done = Boot(mode="reboot").end(tmp_path)
    assert done[-1].startswith("c.yml:2: configuration: power_state: ")


def test_message(tmp_path: Path) -> None:
    assert last_words.message("a $UPTIME ${uptime} $x", {"uptime": "1"}) == "a 1 1 $x"
    console = tmp_path / "console"
    console.touch()
    machine: Any = SimpleNamespace(release={"version": "7"})
    text = "Orlop $VERSION\nfrom $DATASOURCE"
    current = Configuration({"final_message": text}, cloud={"source": "ec2"})
    last_words.say(machine, current, str(console))
    assert console.read_bytes() == b"Orlop 7\r\nfrom ec2\r\n"
    last_words.say(machine, current, str(tmp_path / "none"))
