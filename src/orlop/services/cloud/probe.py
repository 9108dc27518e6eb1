"""Asks all plausible sources at once; the first that answers counts.

Each source has a thread, because what is asked may not answer at all. A thread that is still
waiting when the time is over is left behind: the process ends soon after.
"""

import queue
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace

from orlop.lib.errors import OrlopError
from orlop.services.cloud import guestinfo, http
from orlop.wire.cloud import (
    azure,
    config_url,
    digitalocean,
    ec2,
    gce,
    hetzner,
    nocloud,
    openstack,
    vmware,
    vultr,
)
from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import (
    Conversation,
    NoAnswer,
    Request,
    Response,
    Surroundings,
)
from orlop.wire.cloud.vmware import SCHEME

PAUSE_S = 0.5
"""Before a source that has failed is asked again; a service may come up later than we do."""

CONVERSATIONS: dict[str, tuple[Callable[[Surroundings], Conversation], ...]] = {
    "azure": (azure.converse,),
    "digitalocean": (digitalocean.converse,),
    "ec2": (ec2.converse, lambda around: ec2.converse(around, ec2.BASES[1])),
    "gce": (gce.converse,),
    "hetzner": (hetzner.converse,),
    "nocloud-net": (nocloud.converse,),
    "openstack": (openstack.converse,),
    "url": (config_url.converse,),
    "vmware": (vmware.converse,),
    "vultr": (vultr.converse,),
}
"""How each source is asked; one with several addresses is asked at all of them."""


def hold[T](conversation: Generator[Request, Response, T], deadline_s: float) -> T:
    """Carry *conversation* on to its end.

    Raises:
        NoAnswer: as the conversation does, or there is no time left.
    """
    try:
        request = next(conversation)
        while True:
            if request.url.startswith(SCHEME):
                response = guestinfo.ask(request)
            else:
                response = http.send(request, deadline_s)
            request = conversation.send(response)
    except StopIteration as end:
        found: T = end.value
        return found


class Probe:
    """All conversations with sources *names*."""

    def __init__(self, names: list[str], around: Surroundings, deadline_s: float) -> None:
        self._answers: queue.Queue[Answer | None] = queue.Queue()
        self._deadline_s = deadline_s
        self._started_s = time.monotonic()
        self.reasons: dict[str, str] = {}
        self._left = 0
        for name in names:
            for start in CONVERSATIONS.get(name, ()):
                self._left += 1
                arguments = (name, start, around)
                threading.Thread(target=self._ask, args=arguments, daemon=True).start()

    def wait(self) -> Answer | None:
        """The first answer, None if there is none in time."""
        while self._left:
            try:
                answer = self._answers.get(timeout=self._left_s() + PAUSE_S)
            except queue.Empty:
                return None
            if answer is not None:
                return answer
            self._left -= 1
        return None

    def _left_s(self) -> float:
        return max(0.0, self._deadline_s - time.monotonic())

    def _ask(
        self, name: str, start: Callable[[Surroundings], Conversation], around: Surroundings
    ) -> None:
        while True:
            try:
                answer = hold(start(around), self._deadline_s)
                took_ms = round((time.monotonic() - self._started_s) * 1000)
                self._answers.put(replace(answer, machine=around.machine, took_ms=took_ms))
                return
            except NoAnswer as error:
                self.reasons[name] = str(error)
            except OrlopError as error:
                # The source is there and talks nonsense: asking again changes nothing.
                self.reasons[name] = str(error)
                break
            except Exception as error:  # noqa: BLE001 - the other sources still count
                self.reasons[name] = f"{type(error).__name__}: {error}"
                break
            if self._left_s() <= PAUSE_S:
                break
            time.sleep(PAUSE_S)
        self._answers.put(None)
