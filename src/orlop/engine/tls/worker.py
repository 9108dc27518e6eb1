"""TLS for the API on TCP: `worker tls JOB`, a process that ends encryption and passes bytes on.

JOB is a JSON object: `ca`, `cert` and `key`, files in PEM. Descriptor 3 is the listening socket,
4 a socket of packets to the engine. The worker reads the files, says `ready` on 4 (or why not),
and gives up its privileges. From each client it demands a certificate that the authority in `ca`
has signed; only then the engine hears of the connection, by a packet with a socket, on which
there is plain HTTP. Each direction ends by itself, as a client does that attaches to a container.

Here and not in the engine because it parses what anybody may send, and OpenSSL is large.
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import time
from typing import TYPE_CHECKING

from orlop.engine.sandbox import Limits, drop_privileges

if TYPE_CHECKING:
    from collections.abc import Callable

LISTENING = 3
CONTROL = 4
READY = b"ready"

MAX_CONNECTIONS = 256
HANDSHAKE_S = 10.0
"""For a client to show who it is; after that the engine's limits count."""
BUFFER_BYTES = 128 << 10
_READ_BYTES = 64 << 10
_TURN_S = 1.0

LIMITS = Limits(memory_bytes=512 << 20, cpu_s=1 << 40, file_bytes=0, open_files=1024)

_WAITS = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError)


def main(argv: list[str]) -> int:
    """Serve until the engine is gone."""
    control = socket.socket(fileno=CONTROL)
    try:
        context = make_context(json.loads(argv[0]))
    except (OSError, ValueError, KeyError) as error:
        control.send(f"{type(error).__name__}: {error}".encode()[:4096])
        return 1
    listening = socket.socket(fileno=LISTENING)
    listening.setblocking(False)
    drop_privileges(None, LIMITS)
    control.send(READY)
    Relays(context, listening, control).run()
    return 0


def make_context(job: dict[str, str]) -> ssl.SSLContext:
    """The server's side; every client needs a certificate.

    Raises:
        OSError, ssl.SSLError: a file is missing, or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(job["cert"], job["key"])
    context.load_verify_locations(job["ca"])
    context.verify_mode = ssl.CERT_REQUIRED
    return context


class Relay:
    """One connection: encrypted on one side, plain on the other once the client is known."""

    def __init__(self, secure: ssl.SSLSocket) -> None:
        self.secure = secure
        self.plain: socket.socket | None = None
        self.began_s = time.monotonic()
        self._inwards, self._outwards = bytearray(), bytearray()
        self._client_ended = self._engine_ended = False
        self._waits_for_writing = False

    def pump(self, introduce: Callable[[], socket.socket]) -> bool:
        """Move what can be moved; False when it is over.

        Raises:
            OSError, ssl.SSLError: it broke off.
        """
        self._waits_for_writing = False
        if self.plain is None:
            if self._try(self.secure.do_handshake) is None:
                return True
            self.plain = introduce()
            self.plain.setblocking(False)
        moved = True
        while moved:
            moved = self._move_in() | self._move_out()
        return not (self._engine_ended and not self._outwards)

    def interests(self) -> tuple[int, int]:
        """What to wait for, on the encrypted and on the plain side."""
        secure = plain = 0
        if self.plain is None or (not self._client_ended and len(self._inwards) < BUFFER_BYTES):
            secure |= selectors.EVENT_READ
        if self._outwards or self._waits_for_writing:
            secure |= selectors.EVENT_WRITE
        if not self._engine_ended and len(self._outwards) < BUFFER_BYTES:
            plain |= selectors.EVENT_READ
        if self._inwards:
            plain |= selectors.EVENT_WRITE
        return secure, plain if self.plain is not None else 0

    def close(self) -> None:
        self.secure.close()
        if self.plain is not None:
            self.plain.close()

    def _move_in(self) -> bool:
        assert self.plain is not None
        moved = False
        if not self._client_ended and len(self._inwards) < BUFFER_BYTES:
            data = self._try(lambda: self.secure.recv(_READ_BYTES))
            if data is not None:
                moved = True
                self._inwards += data
                self._client_ended = not data
                if not data and not self._inwards:
                    self.plain.shutdown(socket.SHUT_WR)
        if self._inwards:
            sent = self._try(lambda: self._send_plain(self._inwards))
            if sent:
                moved = True
                del self._inwards[:sent]
                if self._client_ended and not self._inwards:
                    self.plain.shutdown(socket.SHUT_WR)
        return moved

    def _move_out(self) -> bool:
        assert self.plain is not None
        plain, moved = self.plain, False
        if not self._engine_ended and len(self._outwards) < BUFFER_BYTES:
            data = self._try(lambda: plain.recv(_READ_BYTES))
            if data is not None:
                moved = True
                self._outwards += data
                self._engine_ended = not data
        if self._outwards:
            sent = self._try(lambda: self.secure.send(self._outwards))
            if sent:
                moved = True
                del self._outwards[:sent]
        return moved

    def _send_plain(self, data: bytearray) -> int:
        assert self.plain is not None
        return self.plain.send(data)

    def _try[T](self, act: Callable[[], T]) -> T | None:
        """What *act* returns, or None while it has to wait; True for nothing."""
        try:
            result = act()
        except ssl.SSLWantWriteError:
            self._waits_for_writing = True
            return None
        except _WAITS:
            return None
        return True if result is None else result  # type: ignore[return-value]


class Relays:
    """All connections, in one thread."""

    def __init__(
        self, context: ssl.SSLContext, listening: socket.socket, control: socket.socket
    ) -> None:
        self._context, self._listening, self._control = context, listening, control
        self._selector = selectors.DefaultSelector()
        self._relays: dict[Relay, tuple[int, int]] = {}
        self._selector.register(listening, selectors.EVENT_READ)
        self._selector.register(control, selectors.EVENT_READ)

    def run(self) -> None:
        """Until the engine closes its end."""
        while True:
            ready: dict[Relay, None] = {}
            for key, _events in self._selector.select(_TURN_S):
                if key.fileobj is self._control:
                    return
                if key.fileobj is self._listening:
                    self._accept(ready)
                else:
                    ready[key.data] = None
            for relay in ready:
                self._turn(relay)
            late_s = time.monotonic() - HANDSHAKE_S
            for relay in [r for r in self._relays if r.plain is None and r.began_s < late_s]:
                self._end(relay)

    def _accept(self, ready: dict[Relay, None]) -> None:
        try:
            connection, _address = self._listening.accept()
        except OSError:
            return
        if len(self._relays) >= MAX_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        secure = self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        )
        relay = Relay(secure)
        self._relays[relay] = (0, 0)
        ready[relay] = None

    def _introduce(self) -> socket.socket:
        """A pair of sockets, of which the engine gets one."""
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self._control, [b"c"], [theirs.fileno()])
        finally:
            theirs.close()
        return ours

    def _turn(self, relay: Relay) -> None:
        if relay not in self._relays:
            return
        try:
            goes_on = relay.pump(self._introduce)
        except (OSError, ValueError):
            goes_on = False
        if not goes_on:
            self._end(relay)
            return
        wanted, before = relay.interests(), self._relays[relay]
        for side, new, old in zip((relay.secure, relay.plain), wanted, before, strict=True):
            self._watch(relay, side, new, old)
        self._relays[relay] = wanted

    def _watch(self, relay: Relay, side: socket.socket | None, new: int, old: int) -> None:
        if side is None or new == old:
            return
        if not old:
            self._selector.register(side, new, relay)
        elif new:
            self._selector.modify(side, new, relay)
        else:
            self._selector.unregister(side)

    def _end(self, relay: Relay) -> None:
        secure, plain = self._relays.pop(relay)
        self._watch(relay, relay.secure, 0, secure)
        self._watch(relay, relay.plain, 0, plain)
        relay.close()
