"""The other end of a machine's cable, without another machine: a network namespace of this host.

Its interface `plain` has the frames without a tag, and `tagged` those of one VLAN, which this
program tags and untags itself: not every kernel that tests run on has VLANs. To be run in the
namespace: `cable_peer.py OUR_SOCKET THEIR_SOCKET VLAN`; says `ready` when the interfaces are there.
"""

import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME_BYTES = 1 << 16
MACS_BYTES = 12
TAG_BYTES = 4
TAG_PROTOCOL = 0x8100


def open_tap(name: str) -> int:
    """A new interface; what is read and written here are its frames."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


def tag(frame: bytes, vlan: int) -> bytes:
    """*frame* in VLAN *vlan*."""
    return frame[:MACS_BYTES] + struct.pack("!HH", TAG_PROTOCOL, vlan) + frame[MACS_BYTES:]


def untag(frame: bytes) -> tuple[int, bytes]:
    """The VLAN of *frame*, 0 for none, and the frame without its tag."""
    if len(frame) < MACS_BYTES + TAG_BYTES:
        return 0, frame
    protocol, number = struct.unpack_from("!HH", frame, MACS_BYTES)
    if protocol != TAG_PROTOCOL:
        return 0, frame
    return number & 0xFFF, frame[:MACS_BYTES] + frame[MACS_BYTES + TAG_BYTES :]


def main() -> None:
    ours, theirs, vlan = sys.argv[1], sys.argv[2], int(sys.argv[3])
    taps = {0: open_tap("plain"), vlan: open_tap("tagged")}
    vlans = {descriptor: number for number, descriptor in taps.items()}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as cable:
        cable.bind(ours)
        print("ready", flush=True)
        while True:
            for descriptor in select.select([cable, *vlans], [], [])[0]:
                if descriptor is cable:
                    number, frame = untag(cable.recv(FRAME_BYTES))
                    if number in taps:
                        os.write(taps[number], frame)
                    continue
                frame = os.read(descriptor, FRAME_BYTES)
                number = vlans[descriptor]
                try:
                    cable.sendto(tag(frame, number) if number else frame, theirs)
                except (ConnectionRefusedError, FileNotFoundError):
                    pass  # the machine is off: nobody is at the other end


if __name__ == "__main__":
    main()
