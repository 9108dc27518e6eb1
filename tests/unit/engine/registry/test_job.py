"""Jobs travel whole."""

import json

from orlop.engine.registry.job import Job, parse_job, to_json
from orlop.engine.registry.settings import Registries
from orlop.wire.registry.auth_config import AuthConfig
from orlop.wire.registry.reference import parse_reference


def test_round_trip() -> None:
    job = Job(
        action="pull",
        reference=parse_reference("registry.example:5000/a/b:c"),
        platform="linux/arm64",
        machine="x86_64",
        auth=AuthConfig(username="ann", password="secret", identity_token="i"),
        registries=Registries(mirrors=("https://m",), insecure=("h:1",), search="s"),
        max_layer_bytes=5,
        term="x",
        limit=7,
        images=({"tag": "t"},),
    )

    assert parse_job(json.loads(json.dumps(to_json(job)))) == job
