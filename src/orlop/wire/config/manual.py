"""The table of keys as texts: Markdown for docs/configuration.md, a man page, one key. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.config.table import EACH, KEYS
from orlop.wire.config.yaml_text import INDENT

if TYPE_CHECKING:
    from orlop.wire.config.table import Key

_HEAD = """\
| key | value | default | takes effect | what it is |
|---|---|---|---|---|
"""

_MAN_HEAD = """\
.TH ORLOP-CONFIG 5 "" Orlop "Orlop's file formats"
.SH NAME
orlop-config \\- the configuration of a machine that runs Orlop
.SH SYNOPSIS
.nf
/var/lib/orlop/conf.d/*.yml
/var/lib/orlop/config.yml
.fi
.SH DESCRIPTION
One YAML document, in as many files as one likes. A later file wins: maps merge, lists and values
replace; a list whose key has a
.B +
behind it is added to what is there. A file with an error counts for nothing.
.B orlop config validate
checks one.
.SH KEYS
"""


def markdown() -> str:
    """The rows of all keys as a table."""
    return _HEAD + "".join(
        f"| `{key.path}` | {key.kind.form} | {key.default} | {key.applies} | {describe(key)} |\n"
        for key in KEYS
    )


def describe(key: Key) -> str:
    """What *key* is, whether it is secret, an example, and what others call it."""
    parts = [key.what]
    if key.secret:
        parts.append("Secret.")
    parts.append(f"Example: `{key.example}`.")
    if key.aliases:
        parts.append(f"Others call it {', '.join(f'`{alias}`' for alias in key.aliases)}.")
    return " ".join(parts)


def facts(key: Key) -> dict[str, str]:
    """What there is to know of *key*, by name; empty where there is nothing."""
    return {
        "what": key.what,
        "form": key.kind.form,
        "default": key.default,
        "example": key.example,
        "applies": str(key.applies),
        "secret": "yes" if key.secret else "",
        "aliases": ", ".join(key.aliases),
    }


def explain(key: Key) -> list[str]:
    """*key* in lines for a terminal."""
    return [key.path, *(f"  {name + ':':<11}{text}" for name, text in facts(key).items() if text)]


def template() -> str:
    """A document with every key, commented out, to begin one with."""
    lines = ["#cloud-config", "# Take away the # of what you want to set.", ""]
    open_path: tuple[str, ...] = ()
    for key in _as_a_tree():
        *parents, name = key.segments
        for depth, parent in enumerate(parents):
            if parent != EACH and open_path[: depth + 1] != tuple(parents[: depth + 1]):
                lines.append(f"#{INDENT * depth}{parent}:")
        is_item = parents[-1:] == [EACH]
        begins = is_item and open_path != tuple(parents)
        open_path = tuple(parents)
        pad = INDENT * len(parents)
        lines.append(f"{pad}# {describe_short(key)}")
        lines.append(f"#{f'{pad[:-2]}- ' if begins else pad}{name}: {key.example}")
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _as_a_tree() -> list[Key]:
    """All keys, those below the same map together."""
    first: dict[tuple[str, ...], int] = {}
    for index, key in enumerate(KEYS):
        for length in range(1, len(key.segments) + 1):
            first.setdefault(key.segments[:length], index)
    return sorted(
        KEYS, key=lambda key: [first[key.segments[: n + 1]] for n in range(len(key.segments))]
    )


def describe_short(key: Key) -> str:
    """What *key* is, its kind and its default, in one line."""
    default = f" Default: {key.default}." if key.default else ""
    return f"{key.what} {key.kind.form[:1].upper()}{key.kind.form[1:]}.{default}"


def man_page() -> str:
    """orlop-config(5)."""
    return _MAN_HEAD + "".join(_man_entry(key) for key in KEYS)


def _man_entry(key: Key) -> str:
    lines = [".TP", f".B {_roff(key.path)}", _roff(key.what)]
    lines += [f"Value: {_roff(key.kind.form)}."]
    if key.default:
        lines.append(f"Default: {_roff(key.default)}.")
    lines.append(f"A change takes effect {_roff(str(key.applies))}.")
    if key.secret:
        lines.append("Secret.")
    lines += [".br", "Example:", f".I {_roff(key.example)}"]
    if key.aliases:
        lines += [".br", f"Others call it {_roff(', '.join(key.aliases))}"]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
