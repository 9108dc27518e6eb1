"""Listings: rows with named fields, as a table, as JSON or by a template.

A listing's file has a table of its fields: name to title and function. From it come the columns of
the table, the JSON of a row and what templates can ask for.
"""

from __future__ import annotations

import sys

from orlop.cli.docker.failure import Failure
from orlop.cli.docker.tabwriter import align

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orlop.cli.docker.session import Object

    type Fields = Mapping[str, tuple[str, Callable[["Row"], str]]]

TABLE, JSON = "table", "json"


class Row:
    """One row: the engine's *data*, and whether its ids and texts are cut short."""

    __slots__ = ("data", "fields", "kind", "trunc")

    def __init__(self, data: Object, fields: Fields, kind: str, *, trunc: bool = True) -> None:
        self.data = data
        self.fields = fields
        self.kind = kind
        self.trunc = trunc

    @property
    def type_name(self) -> str:
        """What Go's errors call it."""
        return f"*{self.kind}"

    def template_field(self, name: str) -> object:
        """The text of the field *name*; KeyError if there is none."""
        return self.fields[name][1](self)

    def template_method(self, name: str, arguments: Sequence[object]) -> object:
        """`.Label "name"`: KeyError if there is no such method."""
        labels = self.data.get("Labels")
        if name != "Label" or len(arguments) != 1 or "Labels" not in self.fields:
            raise KeyError(name)
        return str(labels.get(str(arguments[0]), "")) if isinstance(labels, dict) else ""

    def json_text(self) -> str:
        """All fields as a JSON object, as Go encodes it."""
        from json import dumps

        values = {name: self.fields[name][1](self) for name in sorted(self.fields)}
        text = dumps(values, separators=(",", ":"), ensure_ascii=False)
        for char in "<>&":
            text = text.replace(char, f"\\u{ord(char):04x}")
        return text


class _Titles(dict[str, str]):
    """The row of titles: a map whose method gives a label's title."""

    def template_field(self, name: str) -> object:
        return self[name]

    def template_method(self, name: str, arguments: Sequence[object]) -> object:
        if name != "Label" or len(arguments) != 1:
            raise KeyError(name)
        last = str(arguments[0]).rpartition(".")[2]
        return last.replace("-", " ").replace("_", " ")


def listing(rows: Iterable[Row], fields: Fields, form: str, default: Sequence[str]) -> None:
    """Print *rows* in the form that `--format` names; *default* are the table's columns.

    Raises:
        Failure: the template is wrong.
    """
    form = form or TABLE
    if form == TABLE:
        lines = ["\t".join(fields[name][0] for name in default)]
        lines += ["\t".join(row.fields[name][1](row) for name in default) for row in rows]
        write(align("\n".join(lines)) + "\n")
        return
    if form == JSON:
        write("".join(f"{row.json_text()}\n" for row in rows))
        return
    _by_template(rows, fields, form)


def _by_template(rows: Iterable[Row], fields: Fields, form: str) -> None:
    from orlop.wire.go_template.errors import TemplateError
    from orlop.wire.go_template.evaluate import Template
    from orlop.wire.go_template.functions import HEADER_FUNCTIONS

    is_table = form.startswith(TABLE)
    text = form.removeprefix(TABLE) if is_table else form
    text = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
    try:
        template = Template(text)
    except TemplateError as error:
        raise Failure(f"template parsing error: {error}") from None
    try:
        body = "".join(f"{template.execute(row)}\n" for row in rows)
    except TemplateError as error:
        raise Failure(f"template parsing error: {error}") from None
    if not is_table:
        write(body)
        return
    try:
        titles = _Titles({name: title for name, (title, _) in fields.items()})
        head = template.execute(titles, functions=HEADER_FUNCTIONS)
    except TemplateError:
        head = ""
    write(align(f"{head}\n{body}"))


def write(text: str) -> None:
    """Write *text* to stdout."""
    sys.stdout.write(text)


def labels_text(value: object) -> str:
    """`a=1,b=2` of an object of labels."""
    if not isinstance(value, dict):
        return ""
    return ",".join(f"{name}={value[name]}" for name in sorted(value))


def filters_query(values: Sequence[str]) -> str | None:
    """What the API takes for `--filter NAME=VALUE`, each of *values* one; None for none."""
    if not values:
        return None
    from json import dumps

    found: dict[str, dict[str, bool]] = {}
    for text in values:
        name, _, value = text.partition("=")
        if name:
            found.setdefault(name.strip().lower(), {})[value.strip()] = True
    return dumps({name: found[name] for name in sorted(found)}, separators=(",", ":"))
