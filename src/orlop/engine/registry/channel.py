"""The worker's side of the two pipes to its engine: a JSON object per line.

The engine sends the job first and then nothing but answers to questions. The worker sends messages:
`{"progress": {...}}` for the client, `{"ask": NAME, ...}` for the engine, and at the end one of
`{"result": ...}` and `{"error": ..., "kind": ...}`.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from orlop.lib.errors import OrlopError
from orlop.wire.registry.progress import Message

MAX_LINE_BYTES = 16 << 20
"""The longest line: a configuration or manifest travels in one."""


class Channel:
    """May be used by several threads; questions are asked one at a time."""

    def __init__(self, reading: int = 0, writing: int = 1) -> None:
        self._input = os.fdopen(reading, "rb", closefd=False)
        self._writing = writing
        self._send_lock = threading.Lock()
        self._ask_lock = threading.Lock()

    def receive(self) -> dict[str, Any]:
        """The next line from the engine.

        Raises:
            OrlopError: the engine is gone.
        """
        line = self._input.readline(MAX_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise OrlopError("the engine is gone")
        value = json.loads(line)
        assert isinstance(value, dict)
        return value

    def send(self, message: dict[str, Any]) -> None:
        """One line, whole, whatever other threads send."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        with self._send_lock:
            view = memoryview(data)
            while view:
                view = view[os.write(self._writing, view) :]

    def progress(self, message: Message) -> None:
        """Something for the client to see."""
        self.send({"progress": message})

    def ask(self, question: str, **fields: Any) -> dict[str, Any]:
        """Put a question to the engine and wait for its answer."""
        with self._ask_lock:
            self.send({"ask": question, **fields})
            return self.receive()
