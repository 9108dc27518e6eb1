"""A file of services, or a schedule in it, is taken or refused as invalid."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_file import parse_file
from orlop.wire.located_yaml import parse_yaml

_LABELS = (
    b"{io.rancher.os.scope: system, io.rancher.os.after: 'docker, a', cron.schedule: '0 * * * * *'}"
)
SEEDS = (
    b"services:\n  web: {image: x, network_mode: host, ports: ['80:80'], profiles: [a]}\nx-a: {}\n",
    b"services:\n  a: {image: x, deploy: {resources: {limits: {cpus: '1', memory: 1m}}}}\n",
    b"services:\n  job: {image: 'x:${TAG:-1}', x-orlop: {schedule: '*/5 1-3 * jan mon'}}\n",
    b"web:\n  image: x\n  net: host\n  privileged: true\n  volumes_from: [all-volumes]\n",
    b"web:\n  image: $A\n  environment: [A, B=c]\n  cap_drop: [ALL]\n  labels: " + _LABELS + b"\n",
    b"web:\n  image: x\n  labels: [org.orlop.detach=false, org.orlop.before=b]\n  depends_on: [a]",
)
TOKENS = (
    *(b"&a", b"*a", b": ", b"- ", b"[", b"]", b"{", b"}", b"\n  ", b"null", b"$", b"${", b"$$"),
    *(b"services:", b"labels:", b"ports:", b"deploy:", b"depends_on:", b"@every 1h", b"TZ=UTC "),
)


def check(data: bytes) -> None:
    try:
        parse_file(parse_yaml("fuzz.yml", data.decode("utf-8", errors="replace")))
    except InvalidArgument:
        return
