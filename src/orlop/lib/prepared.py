"""What dataclasses of an image are made of: the builder has written their `__init__` already.

`@dataclass` writes Python text and compiles it each time a program starts, for each class: that was
half of what PID 1 had to do before its engine could answer. So the builder (`orlop.image.prepare`)
turns such a class into one of these two with slots and an `__init__`, and nothing is left to do. In
a checkout `@dataclass` itself is at work; a test holds that both behave alike.

`fields`, `replace` and `asdict` of `dataclasses` work with these as well.
"""

from reprlib import recursive_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, Self

set_field = object.__setattr__
NO_NAMES: "tuple[str, ...]" = ()


class Later:
    """A default that is made anew for each object: `default_factory`."""

    __slots__ = ("make",)

    def __init__(self, make: "Callable[[], object]") -> None:
        self.make = make


class _Fields:
    """`__dataclass_fields__`, worked out for those who ask, which few do."""

    def __get__(self, instance: object, owner: "type[Any]") -> dict[str, object]:
        found = _fields(owner)
        owner.__dataclass_fields__ = found
        return found


def _fields(owner: "type[Any]") -> dict[str, object]:
    import dataclasses

    code = owner.__init__.__code__
    positional = code.co_varnames[1 : code.co_argcount]
    defaults = owner.__init__.__defaults__ or ()
    given = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
    given.update(owner.__init__.__kwdefaults__ or {})
    found: dict[str, object] = {}
    for name in owner.__slots__:
        options: dict[str, object] = {"kw_only": name not in positional}
        if name in given:
            default = given[name]
            later = isinstance(default, Later)
            options |= {"default_factory": default.make} if later else {"default": default}
        field = dataclasses.field(repr=name not in owner.__hidden__, **options)  # type: ignore[call-overload]
        field.name, field.type = name, owner.__annotations__[name]
        field._field_type = dataclasses._FIELD  # type: ignore[attr-defined]
        found[name] = field
    return found


class _Prepared:  # noqa: PLW1641 - each of the two has its own __hash__
    """What both have."""

    __slots__ = NO_NAMES
    __hidden__ = NO_NAMES
    """Fields that are not shown: `repr=False`."""
    __dataclass_fields__ = _Fields()

    def __eq__(self, other: object) -> bool:
        if self.__class__ is not other.__class__:
            return NotImplemented
        names = self.__slots__
        return [getattr(self, name) for name in names] == [getattr(other, name) for name in names]

    @recursive_repr()
    def __repr__(self) -> str:
        hidden = self.__hidden__
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__slots__ if name not in hidden]
        return f"{self.__class__.__qualname__}({', '.join(shown)})"

    def __replace__(self, **changes: object) -> "Self":
        import dataclasses

        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


class Mutable(_Prepared):
    """A dataclass whose fields may change."""

    __slots__ = NO_NAMES
    __hash__ = None  # type: ignore[assignment]


class Frozen(_Prepared):
    """A dataclass that stays as it is, and can be a key."""

    __slots__ = NO_NAMES

    def __hash__(self) -> int:
        return hash(tuple([getattr(self, name) for name in self.__slots__]))

    def __setattr__(self, name: str, value: object) -> "NoReturn":
        _refuse("assign to", name)

    def __delattr__(self, name: str) -> "NoReturn":
        _refuse("delete", name)

    def __getstate__(self) -> list[object]:
        return [getattr(self, name) for name in self.__slots__]

    def __setstate__(self, state: list[object]) -> None:
        for name, value in zip(self.__slots__, state, strict=True):
            set_field(self, name, value)


def _refuse(what: str, name: str) -> "NoReturn":
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot {what} field {name!r}")
