"""`peer.py serve KIND PORT`: answer everybody with his address. `peer.py ask KIND ADDRESS PORT`.

KIND is `tcp` or `udp`. Servers take both IP versions. An answer that does not come in two seconds
does not come.
"""

import socket
import sys

TIMEOUT_S = 2.0


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


def ask(kind: str, address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect((address, port))
        if kind == "udp":
            sock.send(b"?")
        print(sock.recv(100).decode())


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        ask(sys.argv[2], sys.argv[3], int(sys.argv[4]))
