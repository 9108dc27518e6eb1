"""`./orlop config`: documents of a machine's configuration, checked before it sees them."""

import json
import sys
from pathlib import Path

from orlop.lib.errors import OrlopError
from orlop.wire.config import manual
from orlop.wire.config.evaluate import check
from orlop.wire.config.json_schema import json_schema
from orlop.wire.config.table import KEYS
from orlop.wire.located_yaml import MAX_LENGTH

USAGE = """\
usage: ./orlop config validate [--json] FILE...   check documents; `-` is the standard input
       ./orlop config explain [KEY...]            what keys are there, and what each is
       ./orlop config schema                      all keys as JSON Schema
       ./orlop config reference | man             all keys as Markdown, as a man page"""


def main(argv: list[str]) -> int:
    match argv:
        case ["validate", *words] if set(words) - {"--json"}:
            files = [word for word in words if word != "--json"]
            return _validate(files, as_json=len(files) < len(words))
        case ["explain", *keys]:
            return _explain(keys)
        case ["schema"]:
            print(json.dumps(json_schema(), indent=2))
        case ["reference"]:
            print(manual.markdown(), end="")
        case ["man"]:
            print(manual.man_page(), end="")
        case ["-h" | "--help"]:
            print(USAGE)
        case _:
            print(USAGE, file=sys.stderr)
            return 2
    return 0


def _validate(files: list[str], *, as_json: bool) -> int:
    """0 if each of *files* would be in force as a whole."""
    found = {name: _problems_of(name) for name in files}
    if as_json:
        print(json.dumps({"files": found}, indent=2))
    else:
        for problems, notices in ((f["problems"], f["notices"]) for f in found.values()):
            for text in (*problems, *notices):
                print(f"orlop: {text}", file=sys.stderr)
    return 1 if any(entry["problems"] for entry in found.values()) else 0


def _problems_of(name: str) -> dict[str, list[str]]:
    try:
        if name == "-":
            checked = check("stdin", sys.stdin.buffer.read(MAX_LENGTH + 1))
        else:
            with Path(name).open("rb") as stream:
                checked = check(name, stream.read(MAX_LENGTH + 1))
    except OSError as error:
        return {"problems": [f"cannot read {name}: {error.strerror}"], "notices": []}
    except OrlopError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return {"problems": [f"{error}{hint}"], "notices": []}
    return {
        "problems": [notice.text for notice in checked.notices if notice.ignored],
        "notices": [notice.text for notice in checked.notices if not notice.ignored],
    }


def _explain(keys: list[str]) -> int:
    wanted = [key for key in KEYS if not keys or key.path in keys]
    for key in wanted:
        print("\n".join(manual.explain(key)))
    missing = sorted(set(keys) - {key.path for key in wanted})
    for name in missing:
        print(f"orlop: there is no key {name}", file=sys.stderr)
    return 1 if missing else 0
