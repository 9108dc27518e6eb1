"""Reads superblocks in a child process, so that no disk can hold up the service.

A broken disk may keep a read for minutes, inside the kernel, where no signal reaches; and the bytes
read are whatever somebody wrote there. The child reads, parses and answers with one line of JSON;
if it does not within PROBE_TIMEOUT_S it is given up, and the device keeps the names that need no
reading.
"""

import json
import os

from orlop.services.devices.superblock import Identity, Read, identify

PROBE_TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 4096


def start_probe(path: str, size_bytes: int) -> tuple[int, int]:
    """Start reading the device at *path*; returns the child's process id and the end to read from.

    Forking is right here because the service has one thread and the child runs nothing but this.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, encode_answer(probe(path, size_bytes)))
        except BaseException:  # noqa: BLE001 - the child must end here, whatever it is
            os._exit(1)
        os._exit(0)
    os.close(writer)
    return child, reader


def probe(path: str, size_bytes: int) -> Identity | None:
    """What is on the device at *path*.

    Raises:
        OSError: it cannot be opened or read.
    """
    # O_NONBLOCK: a drive without a medium must not wait for one.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return identify(reader_of(descriptor), size_bytes)
    finally:
        os.close(descriptor)


def reader_of(descriptor: int) -> Read:
    """A reader on *descriptor*; beyond the end there is nothing."""
    return lambda offset, size: os.pread(descriptor, size, offset) if offset >= 0 else b""


def encode_answer(identity: Identity | None) -> bytes:
    if identity is None:
        return b"null"
    fields = [identity.kind, identity.label.hex(), identity.uuid, identity.member]
    return json.dumps(fields).encode()


def decode_answer(answer: bytes) -> Identity | None:
    """The answer of a child; None for nothing found and for one that came to nothing."""
    try:
        match json.loads(answer or b"null"):
            case [str(kind), str(label), str(uuid), bool(member)]:
                return Identity(kind, bytes.fromhex(label), uuid, member)
    except ValueError:
        pass
    return None
