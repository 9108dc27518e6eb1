"""The program of the `cloud` service: asks the machine's cloud who it is, and ends.

PID 1 has decided which sources are plausible. The answer goes to a file that PID 1 watches, and to
one on the state partition for a boot at which nobody answers.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument
from orlop.lib.small_file import read_regular
from orlop.services.cloud import http
from orlop.services.cloud.machine import surroundings, wait_for_network
from orlop.services.cloud.probe import Probe, hold
from orlop.services.settings import list_setting, read_settings
from orlop.wire.cloud import azure
from orlop.wire.cloud.answer import MAX_ANSWER_BYTES, MAX_INCLUDED_BYTES, Answer, decode, encode
from orlop.wire.cloud.conversation import LINK_LOCAL, NoAnswer, Request, Surroundings
from orlop.wire.cloud.user_data import Kind, split

RUN_FILE = Path("/run/orlop/cloud/answer.json")
SEED_FILE = Path("/run/orlop/seed/answer.json")
CACHE_FILE = Path("/var/lib/orlop/cloud/answer.json")

NETWORK_WAIT_S = 120.0
PROBE_S = 10.0
LATE_S = 300.0
LATE_PAUSE_S = 10.0
"""A service that does not answer within `PROBE_S` is asked again now and then until `LATE_S`."""

INCLUDES_S = 30.0
SEED = "seed"
_WITHOUT_NETWORK = ("vmware",)


def main(argv: list[str]) -> int:
    """Ask, write, end. The status is 0 also when nobody answers: the file says so."""
    settings = read_settings()
    names = list_setting(settings, "sources")
    if not names:
        return 0
    around = surroundings(settings)
    if names == [SEED]:
        answer = decode(_read(SEED_FILE))
    else:
        answer = add_custom_data(ask(names, around, late_s=LATE_S))
    if answer.source:
        answer = fetch_includes(answer)
        write(answer, RUN_FILE, durable=False)
        write(answer, CACHE_FILE, durable=True)
        print(f"{answer.source}: instance {answer.instance_id}, after {answer.took_ms} ms")
    if answer.source == "azure":
        report_to_azure()
    return 0


def ask(names: list[str], around: Surroundings, *, late_s: float) -> Answer:
    """The first answer of sources *names*; one without a source if there is none."""
    urls = [
        LINK_LOCAL,
        "http://[fd00:ec2::254]",
        around.config_url,
        around.kernel_seed.get("seedfrom", ""),
    ]
    if not set(names) & set(_WITHOUT_NETWORK):
        wait_for_network(lambda: any(map(http.has_route, filter(None, urls))), NETWORK_WAIT_S)
    end_s = time.monotonic() + late_s
    is_told = False
    while True:
        probe = Probe(names, around, time.monotonic() + PROBE_S)
        answer = probe.wait()
        if answer is not None:
            return answer
        reasons = tuple(f"{name}: {reason}" for name, reason in sorted(probe.reasons.items()))
        answer = Answer("", warnings=reasons or ("no data source has answered",))
        if not is_told:  # once: each word makes PID 1 read the configuration again
            write(answer, RUN_FILE, durable=False)
            is_told = True
        if time.monotonic() + LATE_PAUSE_S > end_s:
            return answer
        time.sleep(LATE_PAUSE_S)


def add_custom_data(answer: Answer) -> Answer:
    """Azure's custom data where there is no user data.

    It is on a disk at the first boot only, and kept by us from then on.
    """
    if answer.source != "azure" or answer.user_data:
        return answer
    for path in (SEED_FILE, CACHE_FILE):
        try:
            kept = decode(_read(path) or b"{}")
        except (OSError, InvalidArgument) as error:
            print(f"{path}: {error}", file=sys.stderr)
            continue
        is_own = path == SEED_FILE or kept.instance_id == answer.instance_id
        if kept.source == "azure" and kept.user_data and is_own:
            left = tuple(text for text in answer.warnings if text != azure.NO_CUSTOM_DATA)
            return replace(answer, user_data=kept.user_data, warnings=left)
    return answer


def fetch_includes(answer: Answer) -> Answer:
    """*answer* with what its user data includes by URL."""
    parts, _ = split(answer.user_data)
    urls = [part.content.decode() for part in parts if part.kind is Kind.INCLUDE]
    if not urls:
        return answer
    if answer.source in _WITHOUT_NETWORK and not any(map(http.has_route, urls)):
        # It may be this very answer that describes the network.
        write(replace(answer, user_data=b""), RUN_FILE, durable=False)
    wait_for_network(lambda: any(map(http.has_route, urls)), NETWORK_WAIT_S)
    deadline_s = time.monotonic() + INCLUDES_S
    included: dict[str, bytes] = {}
    warnings: list[str] = []
    left_bytes = MAX_INCLUDED_BYTES
    for url in dict.fromkeys(urls):
        response = http.send_in_time(Request(url), deadline_s)
        if not response.ok:
            warnings.append(f"cannot include {url[:200]}: {response}")
        elif len(response.body) > left_bytes:
            text = f"all together are longer than {MAX_INCLUDED_BYTES} bytes"
            warnings.append(f"cannot include {url[:200]}: {text}")
        else:
            included[url] = response.body
            left_bytes -= len(response.body)
    return replace(answer, included=included).warn(*warnings)


def report_to_azure() -> None:
    """Say that the machine has started; a failure is the host's to notice."""
    try:
        hold(azure.report_ready(), time.monotonic() + PROBE_S)
    except NoAnswer as error:
        print(f"azure: {error}", file=sys.stderr)


def write(answer: Answer, path: Path, *, durable: bool) -> None:
    """Write *answer* unless it is there already; a disk that takes none is only mentioned."""
    content = encode(answer)
    try:
        if _read(path) == content:
            return
        atomic_file.write_bytes(path, content, mode=0o600, durable=durable)
    except OSError as error:
        print(f"cannot write {path}: {error.strerror}", file=sys.stderr)


def _read(path: Path) -> bytes:
    try:
        return read_regular(os.fspath(path), MAX_ANSWER_BYTES + 1)
    except FileNotFoundError:
        return b""
