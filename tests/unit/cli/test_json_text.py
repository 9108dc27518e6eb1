"""JSON of the command line, against Python's own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from orlop.cli.json_text import compact, decode


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, {"b": []}], 'ü\n"\\': "\udcff\U0001f600"},
        [],
        "text",
        {},
        -(10**30),
        {"": {"": ""}},
    ],
)
def test_what_is_written_is_what_python_writes(value: object) -> None:
    assert compact(value) == json.dumps(value, separators=(",", ":"))
    assert decode(compact(value).encode()) == json.loads(compact(value))


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no form"):
        compact({"a": object()})


def test_run_loads_nothing_that_takes_long() -> None:
    code = (
        "import sys; sys.path[:] = sys.argv[1].split(':')\n"
        "import orlop.cli.docker.run, orlop.cli.output\n"
        "print(*sorted({'enum', 'json', 're', 'typing', 'socket'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, ":".join(filter(None, sys.path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
