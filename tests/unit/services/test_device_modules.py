"""Feeding the module loader: one at a time, bounded."""

from collections.abc import Sequence

from orlop.services.devices.modules import MAX_WAITING, ModuleQueue


class Loader:
    def __init__(self) -> None:
        self.runs: list[tuple[list[str], bytes]] = []

    def __call__(self, arguments: Sequence[str], standard_input: bytes) -> int:
        self.runs.append((list(arguments), standard_input))
        return 100 + len(self.runs)


def test_batches_while_one_runs() -> None:
    loader = Loader()
    queue = ModuleQueue(loader)
    queue.run()
    assert loader.runs == []
    queue.add("pci:a")
    queue.run()
    for alias in ("usb:b", "usb:c", "usb:b"):
        queue.add(alias)
        queue.run()
    assert loader.runs == [(["stdin"], b"pci:a\n")]
    assert not queue.ended(7)
    assert queue.ended(101)
    queue.run()
    assert loader.runs[1:] == [(["stdin"], b"usb:b\nusb:c\n")]


def test_a_storm_becomes_one_look_at_everything() -> None:
    loader = Loader()
    queue = ModuleQueue(loader)
    for number in range(MAX_WAITING + 1):
        queue.add(f"usb:{number}")
    queue.run()
    assert loader.runs == [(["coldplug"], b"")]


def test_an_alias_cannot_smuggle_another_line() -> None:
    loader = Loader()
    queue = ModuleQueue(loader)
    queue.add("usb:a\npci:b")
    queue.add("")
    queue.run()
    assert loader.runs == []
