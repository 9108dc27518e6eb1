"""The closure of imports."""

import pytest

from orlop.image.pyclosure import (
    ALSO,
    OPTIONAL,
    Import,
    Source,
    close_imports,
    imports_of,
    is_optional,
)
from orlop.lib.errors import InvalidArgument


class Library:
    """Modules from a dictionary of texts; a name that ends in `/` is a package."""

    def __init__(self, **texts: str) -> None:
        self._texts = {name.replace("__", ".").rstrip("_"): text for name, text in texts.items()}
        self._packages = {name.rpartition(".")[0] for name in self._texts}

    def exists(self, name: str) -> bool:
        return name in self._texts

    def source(self, name: str) -> Source | None:
        text = self._texts.get(name)
        if text is None:
            return None
        return Source(f"/{name}.py", name in self._packages, text.encode())


def names(text: str, module: str = "pkg.mod", *, package: bool = False) -> set[str]:
    found = imports_of(Source("/mod.py", package, text.encode()), module)
    return {imported.name for imported in found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a.b, c", {"a.b", "c"}),
        ("from a import b, c as d", {"a", "a.b", "a.c"}),
        ("from a import *", {"a"}),
        ("from . import x", {"pkg", "pkg.x"}),
        ("from .y import z", {"pkg.y", "pkg.y.z"}),
        ("def f():\n  if 1:\n    import deep", {"deep"}),
        (
            "try:\n  import a\nexcept E:\n  import b\nelse:\n  import c\nfinally:\n  import d",
            set("abcd"),
        ),
        ("match x:\n  case 1:\n    import a", {"a"}),
        ("if TYPE_CHECKING:\n  import a\nelse:\n  import b", {"b"}),
        ("if typing.TYPE_CHECKING:\n  import a", set()),
        ('if __name__ == "__main__":\n  import a', set()),
    ],
)
def test_statements_are_found_wherever_they_stand(text: str, expected: set[str]) -> None:
    assert names(text) == expected


def test_relative_names_in_a_package_are_its_own() -> None:
    assert names("from . import x\nfrom .. import y", "a.b", package=True) == {
        *("a.b", "a.b.x", "a", "a.y"),
    }


def test_what_a_module_cannot_be_loaded_without_is_hard() -> None:
    text = (
        "import a\nclass C:\n  import b\ntry:\n  import c\nexcept E: pass\ndef f():\n  import d\n"
    )
    found = set(imports_of(Source("/m.py", False, text.encode()), "m"))

    assert found == {Import("a", True), Import("b", True), Import("c", False), Import("d", False)}


def test_a_broken_module_is_named_with_its_line() -> None:
    with pytest.raises(InvalidArgument, match=r"/mod.py:2: "):
        names("x = 1\ndef\n")


def test_packages_around_a_module_come_with_it() -> None:
    library = Library(a="", a__b="", a__b__c="import d", d="")

    assert close_imports(["a.b.c"], library) == {"a", "a.b", "a.b.c", "d"}


def test_optional_modules_come_only_when_we_import_them() -> None:
    library = Library(
        stdlib="def f():\n  import tarfile",
        tarfile="try:\n  import bz2\nexcept ImportError:\n  pass",
        bz2="",
        orlop__quiet="import stdlib",
        orlop__packer="import tarfile",
    )

    assert close_imports(["orlop.quiet"], library) == {"orlop.quiet", "stdlib"}
    assert close_imports(["orlop.packer"], library) == {"orlop.packer", "tarfile", "bz2"}


def test_an_optional_module_that_is_needed_to_load_is_not_left_out() -> None:
    library = Library(stdlib="import argparse", argparse="")

    assert close_imports(["stdlib"], library) == {"stdlib", "argparse"}


def test_modules_found_by_name_at_run_time_come_along() -> None:
    library = Library(socket="", encodings="", encodings__idna="")

    assert "encodings.idna" in close_imports(["socket"], library)


def test_a_root_has_to_exist() -> None:
    with pytest.raises(InvalidArgument, match=r"there is no module orlop\.missing"):
        close_imports(["orlop.missing"], Library())


def test_the_tables_do_not_contradict_each_other() -> None:
    assert all(reason for reason in OPTIONAL.values())
    assert not any(is_optional(name) for also in ALSO.values() for name in also)
