"""What happened to containers, as it happens and for a while after.

Publishing never waits: a subscriber that does not read loses its oldest events and is told so by
`Subscription.dropped`. The history is a bounded ring, for `docker events --since`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

HISTORY_EVENTS = 256
"""Events kept for late readers, as many as dockerd keeps."""

QUEUED_EVENTS = 1024
"""Events a slow subscriber may be behind before it loses some."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. *action* has Docker's words: create, start, die, oom, stop …"""

    time_ns: int
    type: str
    action: str
    id: str
    attributes: Mapping[str, str]


class Subscription:
    """An iterator over events from now on; use it in a `with` statement."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._queue: deque[Event] = deque(maxlen=QUEUED_EVENTS)
        self._ready = asyncio.Event()
        self.dropped = 0

    def __enter__(self) -> Subscription:
        self._hub.subscriptions.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hub.subscriptions.discard(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._queue:
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    def push(self, event: Event) -> None:
        """Called by the hub."""
        if len(self._queue) == QUEUED_EVENTS:
            self.dropped += 1
        self._queue.append(event)
        self._ready.set()


class EventHub:
    """Takes events from the engine and hands them to whoever listens."""

    def __init__(self) -> None:
        self.subscriptions: set[Subscription] = set()
        self._history: deque[Event] = deque(maxlen=HISTORY_EVENTS)

    def publish(self, type_: str, action: str, id_: str, attributes: Mapping[str, str]) -> Event:
        """Record an event with the present time and pass it on; never waits, never raises."""
        event = Event(time.time_ns(), type_, action, id_, attributes)
        self._history.append(event)
        for subscription in self.subscriptions:
            subscription.push(event)
        return event

    def subscribe(self) -> Subscription:
        """Events from the time the `with` block is entered."""
        return Subscription(self)

    def history(self, since_ns: int = 0) -> Iterator[Event]:
        """What is remembered from *since_ns* on, oldest first."""
        return (event for event in list(self._history) if event.time_ns >= since_ns)
