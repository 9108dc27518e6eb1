"""A change of the machine's own document: what it becomes, and what would be in force then.

The own document is what `orlop config` writes; it is kept in two files, the second for what is
secret. Nothing is written here: whoever asked gets both texts and the sum of all sources. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, NotFound
from orlop.wire.config import evaluate, words
from orlop.wire.config.document import APPEND, Checked, check_document, leaves, merge, path_of
from orlop.wire.config.secrets import split
from orlop.wire.config.table import SECRETS
from orlop.wire.config.yaml_text import yaml_lines
from orlop.wire.located_yaml import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orlop.wire.compose_model import Json
    from orlop.wire.config.evaluate import Evaluation, Source
    from orlop.wire.config.table import Path

OWN = "own"
SECRET = "secret"

type Sum = Callable[[Sequence[Source]], Evaluation]


@dataclass(frozen=True, slots=True)
class Operation:
    """What is asked: `set` *key* to *text*, `unset` *key*, `merge` the document *text*, `replace`
    all by it; or only to `validate` it, or to `migrate` it, with the kernel parameters *key*.
    *name* is what *text* is called in errors.

    What is secret stays when all is replaced, unless *secret* is the document of secrets.
    """

    verb: str
    key: str = ""
    text: str = ""
    name: str = "stdin"
    secret: str | None = None


def validate(operation: Operation) -> dict[str, Json]:
    """What is wrong with a document: `problems`, and `notices` that do not count.

    Raises:
        InvalidArgument: the first error.
    """
    checked = _check(operation)
    return {"notices": [notice.text for notice in checked.notices]}


def plan(sources: Sequence[Source], operation: Operation, evaluate_all: Sum) -> dict[str, Json]:
    """The outcome: an `Evaluation.answer` with `texts` (the two files before and after),
    `changed`, and `shadowed` (keys of the own document that a later source overrides).

    Raises:
        InvalidArgument: the change is wrong; says file, line and key.
        NotFound: what is to be unset is not set.
    """
    own, secret = (_find(sources, kind) for kind in (OWN, SECRET))
    old_public, old_secret = _data(own, operation), _data(secret, operation)
    old = merge(old_public, old_secret)
    new, checked = _apply(old, old_secret, operation)
    public, hidden = split(new, SECRETS)
    text, secret_text = _text(public), _text(hidden)
    own_text = own.content.decode() if isinstance(own.content, bytes) else ""
    changed = new != old
    if operation.verb == "replace":
        # As it was written, with its comments, unless something in it has to be elsewhere.
        if checked.data == public:
            text = operation.text
        changed = changed or text != own_text
    elif not changed:
        text = own_text
    found = evaluate_all(
        [
            replace(source, content=text.encode())
            if source.kind == OWN
            else replace(source, content=secret_text.encode())
            if source.kind == SECRET
            else source
            for source in sources
        ]
    )
    was_public, was_secret = split(old, SECRETS)
    answer = found.answer()
    answer["changed"] = changed
    answer["texts"] = {
        "old": own_text if was_public == old_public else _text(was_public),
        "old_secret": _text(was_secret),
        "new": text,
        "new_secret": secret_text,
    }
    answer["shadowed"] = _shadowed(public, hidden, found, {own.path, secret.path})
    answer["notices"] = [notice.text for notice in checked.notices]
    return answer


def _find(sources: Sequence[Source], kind: str) -> Source:
    return next(source for source in sources if source.kind == kind)


def _data(source: Source, operation: Operation) -> dict[str, Json]:
    """What *source* says now; one that is not there yet, or is to be replaced, says nothing."""
    if isinstance(source.content, OSError):
        return {}
    try:
        return evaluate.check(source.path, source.content).data
    except InvalidArgument:
        if operation.verb == "replace":
            return {}
        raise


def _apply(
    old: dict[str, Json], old_secret: dict[str, Json], operation: Operation
) -> tuple[dict[str, Json], Checked]:
    match operation.verb:
        case "unset":
            new = _without(old, path_of(operation.key))
            if new is None:
                raise NotFound(
                    f"{operation.key} is not set by `orlop config`",
                    hint=f"orlop config explain {operation.key}",
                )
            return new, Checked({}, {})
        case "set" | "merge":
            checked = _check(operation)
            return merge(old, checked.data), checked
        case "replace":
            checked = _check(operation)
            if operation.secret is not None:
                old_secret = check_document(parse_yaml(SECRET, operation.secret)).data
            return merge(old_secret, checked.data), checked
        case verb:
            raise InvalidArgument(f"there is no operation {verb!r}")


def _check(operation: Operation) -> Checked:
    """The document that *operation* brings; what in it would be ignored is an error here."""
    if operation.verb == "set":
        path = path_of(operation.key)
        value = words.value_of("value", path, operation.text)
        if value is None:
            raise InvalidArgument(f"configuration: {operation.key}: there is no value")
        document = words.document("value", path, value)
    else:
        document = parse_yaml(operation.name, operation.text.removeprefix("\ufeff"))
    checked = check_document(document)
    for notice in checked.notices:
        if notice.ignored:
            raise InvalidArgument(notice.text.removesuffix(", ignoring"))
    return checked


def _without(data: Mapping[str, Json], path: Path) -> dict[str, Json] | None:
    """*data* without the value at *path*, and without maps that are empty then; None: it is not."""
    first, *rest = path
    names = [name for name in (first, first + APPEND) if name in data]
    if not names:
        return None
    found = {name: value for name, value in data.items() if name not in names}
    if rest:
        inner = data[names[0]]
        left = _without(inner if isinstance(inner, dict) else {}, tuple(rest))
        if left is None:
            return None
        if left:
            found[first] = left
    return found


def _text(data: Mapping[str, Json]) -> str:
    return "".join(f"{line}\n" for line in yaml_lines(data)) if data else ""


def _shadowed(
    public: dict[str, Json], secret: dict[str, Json], found: Evaluation, own: set[str]
) -> list[Json]:
    """Keys of the own document that count for nothing, and where their values are from."""
    shadowed: list[Json] = []
    for leaf in (*leaves(public), *leaves(secret)):
        name = (*leaf[:-1], leaf[-1].removesuffix(APPEND))
        origin = found.origins.get(name, "")
        if not any(f"{path}:" in origin for path in own):
            shadowed.append({"key": ".".join(name), "by": origin})
    return shadowed
