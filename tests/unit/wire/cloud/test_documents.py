"""Answers as documents of the configuration, in the worker's own evaluation."""

import base64
import gzip
import json
from dataclasses import replace
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.system.config.worker import evaluate_all
from orlop.wire.cloud.answer import MAX_ANSWER_BYTES, Answer, decode, encode
from orlop.wire.config.evaluate import Source

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt"
ANSWER = Answer(
    "ec2",
    "i-1",
    "cloud-name",
    (f"{KEY} cloud",),
    {"nameservers": ["192.0.2.53"], "search": ["cloud.example"]},
    b"#cloud-config\nssh_authorized_keys: [" + KEY.encode() + b" user]\n"
    b"orlop: {network: {search: [u]}}\n",
    warnings=("a warning",),
    machine="uuid",
    took_ms=7,
)


def evaluated(*sources: tuple[str, str, bytes], machine: str = "uuid") -> Any:
    return evaluate_all([Source(*source) for source in sources], machine).answer()


def cloud(answer: Answer, kind: str = "cloud") -> tuple[str, str, bytes]:
    return kind, "/run/answer.json", encode(answer)


def test_answers_are_the_same_after_a_journey() -> None:
    answer = replace(ANSWER, included={"http://a/b": b"\0\xff"}, place="/dev/sr0")
    assert decode(encode(answer)) == answer
    assert decode(encode(Answer(""))) == Answer("")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"user_data": "%"}', b'{"included": {"u": 7}}', b"\xff"]
)
def test_answers_that_are_damaged(data: bytes) -> None:
    try:
        answer = decode(data)
    except InvalidArgument:
        return
    assert answer.source == ""


def test_an_answer_that_is_too_long() -> None:
    with pytest.raises(InvalidArgument, match="longer than"):
        decode(bytes(MAX_ANSWER_BYTES + 1))


def test_metadata_is_weak_user_data_strong_and_keys_add_up() -> None:
    own = b"orlop: {network: {nameservers: [192.0.2.1], search: [own]}}"
    found = evaluated(("config", "/conf.d/a.yml", own), cloud(ANSWER))
    assert found["config"] == {
        "hostname": "cloud-name",
        "ssh_authorized_keys": [f"{KEY} user", f"{KEY} cloud"],
        "orlop": {"network": {"nameservers": ["192.0.2.1"], "search": ["u"]}},
    }
    assert found["origins"]["orlop.network.search"] == "user-data:3"
    assert found["origins"]["hostname"] == "metadata of ec2:1"
    assert found["problems"] == []
    assert found["notices"] == ["ec2: a warning"]
    assert found["good"].keys() == {"/conf.d/a.yml", "user-data"}
    assert found["cloud"]["source"] == "ec2"
    assert found["cloud"]["took_ms"] == 7
    assert found["cloud"]["parts"] == [
        {"kind": "config", "name": "user-data", "bytes": len(ANSWER.user_data)}
    ]


def test_a_broken_user_data_names_its_line_and_the_keys_stay() -> None:
    answer = replace(ANSWER, user_data=b"#cloud-config\nhostname: ship\nhostnam: x\n")
    found = evaluated(cloud(answer))
    assert found["config"]["hostname"] == "cloud-name"
    assert found["config"]["ssh_authorized_keys"] == [f"{KEY} cloud"]
    (problem,) = found["problems"]
    assert problem.startswith("user-data:3: ")
    assert "hostname" in problem


def test_a_broken_user_data_counts_as_it_last_was_on_this_instance() -> None:
    copy = evaluated(cloud(ANSWER))["good"]["user-data"].encode()
    broken = replace(ANSWER, user_data=b"#cloud-config\nhostnam: x\n")

    def with_copy(answer: Answer) -> Any:
        source = Source("cloud", "/run/answer.json", encode(answer), ("/good/user-data", copy))
        return evaluate_all([source], "uuid").answer()

    found = with_copy(broken)
    assert found["config"]["orlop"]["network"]["search"] == ["u"]
    assert found["origins"]["orlop.network.search"] == "/good/user-data:3"
    assert found["problems"][0].startswith("user-data:2: ")
    assert found["problems"][0].endswith("; it counts as it was before that")
    assert "user-data" not in found["good"]
    for other in (replace(broken, instance_id="i-2"), replace(broken, source="gce")):
        assert with_copy(other)["config"]["orlop"]["network"]["search"] == ["cloud.example"]
    # What is as its copy is not copied again.
    assert with_copy(ANSWER)["good"] == {}


def test_a_name_or_key_that_is_none_costs_only_itself() -> None:
    answer = replace(ANSWER, hostname="UNDER_SCORE", ssh_keys=("nonsense", f"{KEY} cloud"))
    found = evaluated(cloud(replace(answer, user_data=b"")))
    assert found["config"]["ssh_authorized_keys"] == [f"{KEY} cloud"]
    assert found["config"]["orlop"]["network"]["nameservers"] == ["192.0.2.53"]
    assert "hostname" not in found["config"]
    assert len(found["problems"]) == 2
    assert all(problem.startswith("metadata of ec2:1: ") for problem in found["problems"])


def test_a_long_name_is_cut_to_its_first_label() -> None:
    answer = replace(ANSWER, hostname="ship." + "x" * 60 + ".internal")
    assert evaluated(cloud(answer))["config"]["hostname"] == "ship"


def test_the_first_answer_counts() -> None:
    other = replace(ANSWER, instance_id="i-2")
    nobody = Answer("", warnings=("ec2: timed out",))
    found = evaluated(cloud(nobody), cloud(ANSWER), cloud(other))
    assert found["cloud"]["instance_id"] == "i-1"
    assert found["notices"][0] == "no data source: ec2: timed out"
    assert evaluated(cloud(nobody))["cloud"] == {}


def test_a_cached_answer_counts_on_its_machine_only() -> None:
    found = evaluated(cloud(ANSWER, "cached"))
    assert found["cloud"]["from"] == "an earlier boot"
    assert evaluated(cloud(ANSWER, "cached"), machine="other")["config"] == {}
    unknown = replace(ANSWER, machine="")
    assert evaluated(cloud(unknown, "cached"), machine="")["config"] == {}


def test_what_is_not_wanted_does_not_count() -> None:
    off = b"orlop: {cloud: {datasources: []}}"
    found = evaluated(("config", "/a.yml", off), cloud(ANSWER))
    assert "hostname" not in found["config"]
    assert found["notices"] == ["ec2 is not one of orlop.cloud.datasources, ignoring it"]
    on = b"orlop: {cloud: {datasources: [ec2]}}"
    assert evaluated(("config", "/a.yml", on), cloud(ANSWER))["config"]["hostname"]


def test_names_of_sources_as_rancheros_has_them() -> None:
    old = b"rancher: {cloud_init: {datasources: ['configdrive:/media/config-2', packet]}}"
    found = evaluated(("config", "/a.yml", old))
    assert found["problems"] == []
    assert "is called orlop.cloud.datasources here" in found["notices"][0]


@pytest.mark.parametrize("encode_bytes", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("compressed", [False, True])
def test_inline(encode_bytes: Any, compressed: bool) -> None:
    document = b"hostname: inline\n# \xc3\xbf\xc3\xbe~~??>>\n"
    text = encode_bytes(gzip.compress(document) if compressed else document)
    line = b"quiet orlop.config.inline=" + text + b" ro\n"
    sources = (
        ("config", "/var/lib/orlop/conf.d/a.yml", b"hostname: disk"),
        ("config", "/sys/firmware/qemu_fw_cfg/raw", b"orlop: {network: {search: [fw]}}"),
        ("inline", "/proc/cmdline", line),
    )
    found = evaluated(*sources)
    assert found["config"]["hostname"] == "inline"
    assert found["origins"]["hostname"] == "orlop.config.inline:1"
    strong = (*sources[:1], ("config", "/sys/firmware/x/raw", b"hostname: fw"), sources[2])
    assert evaluated(*strong)["config"]["hostname"] == "fw"


def test_inline_nonsense() -> None:
    found = evaluated(("inline", "/proc/cmdline", b"orlop.config.inline=%%%"))
    assert "is not base64" in found["problems"][0]


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("#!/bin/sh", ["/bin/sh"]),
        ("#! /bin/bash -eu", ["/bin/sh", "-eu"]),
        ("#!/usr/bin/env python3 -u", ["/usr/bin/env", "python3 -u"]),
        ("#!", ["/bin/sh"]),
    ],
)
def test_a_script_is_a_file_and_a_command(first: str, words: list[str]) -> None:
    text = f"{first}\necho \xe9 'quoted'\n"
    found = evaluated(cloud(replace(ANSWER, user_data=text.encode(), warnings=())))
    assert found["problems"] == found["notices"] == []
    (entry,) = found["config"]["write_files"]
    assert entry == {
        "path": "/run/user-data/part-001",
        "content": text,
        "permissions": "0700",
        "owner": "0:0",
        "container": "runcmd",
    }
    assert found["config"]["runcmd"] == [[*words, entry["path"]]]


def test_a_compose_file_of_rancheros_is_services() -> None:
    text = b"#compose\nweb:\n  image: base\n  restart: always\n  environment: [CREW]\n"
    own = b"rancher: {environment: {CREW: twelve}}"
    found = evaluated(
        ("config", "/conf.d/a.yml", own), cloud(replace(ANSWER, user_data=text, warnings=()))
    )
    assert found["problems"] == []
    assert found["services"]["web"]["file"] == "user-data"
    assert found["services"]["web"]["definition"]["environment"] == {"CREW": "twelve"}
    wrong = text.replace(b"restart", b"restrat")
    found = evaluated(cloud(replace(ANSWER, user_data=wrong, warnings=())))
    assert found["services"] == {}
    assert found["problems"][0].startswith("user-data:4: service web: restrat: unknown key")


def test_scripts_come_after_the_commands_of_the_configuration() -> None:
    outer = MIMEMultipart()
    outer.attach(MIMEText("#!/bin/sh\n", "x-shellscript-per-boot"))
    outer.attach(MIMEText("runcmd: [a]\n", "cloud-config"))
    outer.attach(MIMEText("#!/bin/sh\n", "x-shellscript"))
    found = evaluated(cloud(replace(ANSWER, user_data=outer.as_bytes(), warnings=())))
    assert found["config"]["runcmd"] == [
        "a",
        ["/bin/sh", "/run/user-data/part-001"],
        ["/bin/sh", "/run/user-data/part-002"],
    ]
    assert found["notices"] == ["user-data part 1: it is run once on an instance"]


def test_missing_includes_are_told() -> None:
    answer = replace(ANSWER, user_data=b"#include\nhttp://a/b\n", warnings=())
    found = evaluated(cloud(answer))
    assert found["cloud"]["includes"] == ["http://a/b"]
    included = replace(answer, included={"http://a/b": b"hostname: included\n"})
    found = evaluated(cloud(included))
    assert found["config"]["hostname"] == "included"
    assert found["origins"]["hostname"] == "http://a/b:1"
    assert found["cloud"]["includes"] == []


def test_the_answer_of_the_worker_is_json() -> None:
    assert json.loads(json.dumps(evaluated(cloud(ANSWER))))["cloud"]["source"] == "ec2"
