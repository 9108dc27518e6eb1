"""Commands of a data source that answers when the machine is up."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orlop.system import commands
from orlop.system.config.actions import ConfigActions
from orlop.system.config.configuration import Configuration
from orlop.system.parameters import Parameters

UUID = "state-uuid"
CLOUD = {"source": "ec2", "instance_id": "i-1"}


class Boot:
    """The part of PID 1 that takes part."""

    def __init__(self, current: Configuration, *services: str) -> None:
        self.config = SimpleNamespace(current=current)
        self.conditions = SimpleNamespace(has_run="")
        state = SimpleNamespace(uuid=UUID)
        self.machine = SimpleNamespace(state=state, phase="ready", parameters=Parameters())
        self.services = SimpleNamespace(names=lambda: [*services], start_all=self._start)
        self.tasks = SimpleNamespace(start=lambda step, name: step.close())
        self.done: list[str] = []

    def define_services(self) -> None:
        self.done.append("defined")

    def _start(self) -> None:
        self.done.append("started")


@pytest.fixture(autouse=True)
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config" / "ran.json"
    path.parent.mkdir()
    for function in (commands.has_run, commands.note_run):
        monkeypatch.setattr(function, "__defaults__", (str(path),))
    return path


def follow(boot: Boot, before: Configuration) -> None:
    actions = ConfigActions(boot)  # type: ignore[arg-type]
    asyncio.run(actions.follow_answer(before))


def with_commands(cloud: Any = None, **data: Any) -> Configuration:
    return Configuration({"runcmd": ["true"], **data}, cloud=cloud or {})


def test_instance() -> None:
    boot = Boot(Configuration())
    actions = ConfigActions(boot)  # type: ignore[arg-type]
    assert actions.instance(Configuration()) == UUID
    assert actions.instance(Configuration(cloud=CLOUD)) == "ec2:i-1"
    boot.machine.state = None
    assert actions.instance(Configuration())


def test_new_commands_are_run() -> None:
    boot = Boot(with_commands(CLOUD), "console")
    follow(boot, Configuration())
    assert boot.done == ["defined", "started"]
    assert boot.conditions.has_run == ""


def test_new_commands_are_run_once_on_an_instance(ran: Path) -> None:
    ran.write_text(json.dumps({"instance": "ec2:i-1"}))
    boot = Boot(with_commands(CLOUD), "console")
    follow(boot, Configuration())
    assert boot.conditions.has_run == "has run on this instance"
    boot = Boot(with_commands(CLOUD, orlop={"runcmd": "boot"}), "console")
    follow(boot, Configuration())
    assert boot.conditions.has_run == ""


def test_commands_of_the_machine_count_for_the_instance_it_turns_out_to_be(ran: Path) -> None:
    ran.write_text(json.dumps({"instance": UUID}))
    boot = Boot(with_commands(CLOUD), "console", "runcmd")
    follow(boot, with_commands())
    assert boot.done == []
    assert json.loads(ran.read_text()) == {"instance": "ec2:i-1"}


def test_commands_that_have_not_run_yet_are_not_noted(ran: Path) -> None:
    boot = Boot(with_commands(CLOUD), "console", "runcmd")
    follow(boot, with_commands())
    assert not ran.exists()


def test_no_commands() -> None:
    boot = Boot(Configuration(cloud=CLOUD), "console")
    follow(boot, Configuration())
    assert boot.done == []


def test_a_program_that_people_have_left_is_found_without_following_links(tmp_path: Path) -> None:
    folder, program = tmp_path / "bin", tmp_path / "bin/start.sh"
    assert not commands.is_program(str(program))
    folder.mkdir()
    program.write_text("#!/bin/sh\n")
    assert not commands.is_program(str(program))
    program.chmod(0o755)
    assert commands.is_program(str(program))
    program.rename(folder / "other.sh")
    program.symlink_to("other.sh")
    assert commands.is_program(str(program))
    folder.rename(tmp_path / "share")
    folder.symlink_to("share")
    assert not commands.is_program(str(program))
