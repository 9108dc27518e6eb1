"""A peer: `peer.py serve KIND PORT`, `peer.py ask KIND ADDRESS PORT OWN_PORT SECONDS`.

Who asks learns his own address.

KIND is `tcp` or `udp`, or `dns` for a name server to which every name is 203.0.113.7. Servers take
both IP versions. An answer that does not come soon does not come.
"""

import socket
import sys


def serve(kind: str, port: int) -> None:
    is_udp = kind == "udp"
    server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind(("::", port))
    if not is_udp:
        server.listen()
    print("ready", flush=True)
    while True:
        if is_udp:
            _, peer = server.recvfrom(100)
            server.sendto(peer[0].removeprefix("::ffff:").encode(), peer)
        else:
            client, peer = server.accept()
            client.sendall(peer[0].removeprefix("::ffff:").encode())
            client.close()


def serve_names(port: int) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", port))
    print("ready", flush=True)
    while True:
        data, peer = server.recvfrom(512)
        question = data[12 : data.index(b"\0", 12) + 5]
        records = 1 if question[-3] == 1 else 0
        head = data[:2] + b"\x81\x80\0\1\0" + bytes([records]) + bytes(4)
        record = b"\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4" + bytes([203, 0, 113, 7])
        server.sendto(head + question + record * records, peer)


def ask(kind: str, address: str, port: int, own_port: int, timeout_s: float) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        if own_port:
            sock.bind(("", own_port))
        sock.connect((address, port))
        if kind == "udp":
            sock.send(b"?")
        answer = sock.recv(100)
        print(answer.decode())
        if kind == "tcp":
            sock.recv(1)  # the end: it is the server that hangs up first


if __name__ == "__main__":
    if sys.argv[1:3] == ["serve", "dns"]:
        serve_names(int(sys.argv[3]))
    elif sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        ask(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]))
