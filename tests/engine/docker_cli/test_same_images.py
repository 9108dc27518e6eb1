"""Making images and moving files: build, save, load, import, commit, cp; the same from both."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.engine.docker_cli.pair import PREFIXES, invocations

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.docker_cli.pair import Pair

pytestmark = [pytest.mark.root, pytest.mark.engine]

DOCKERFILE = """\
FROM busybox
LABEL who={me}
ARG A=default
COPY . /context
RUN echo running $A; ls /context
CMD ["sh", "-c", "echo built"]
"""
STDIN = {
    "build -": "FROM busybox\nLABEL who={me}\nRUN echo from stdin\n",
    "build -q -t {me}-stdin -f - {dir}/context": (
        "FROM busybox\nLABEL who={me}\nCOPY a /from-stdin\n"
    ),
}


@pytest.fixture(scope="module", autouse=True)
def files(pair: Pair) -> Path:
    """What the words name in {dir}."""
    root = pair.directory
    context = root / "context"
    (context / "sub").mkdir(parents=True)
    for prefix in PREFIXES.values():
        (context / f"For-{prefix}").write_text(DOCKERFILE.replace("{me}", prefix))
        with tarfile.open(root / f"files-{prefix}.tar", "w") as archive:
            info = tarfile.TarInfo("etc/imported")
            info.size = len(prefix)
            archive.addfile(info, io.BytesIO(prefix.encode()))
    (context / "Other").write_text("FROM busybox\nRUN exit 3\n")
    (context / "Wrong").write_text("FROM busybox\nNOTHING\n")
    (context / "a").write_text("a\n")
    (context / "ignored.log").write_text("log\n")
    (context / "sub/b").write_text("b\n")
    (context / ".dockerignore").write_text("*.log\nFor-*\n")
    (root / "nothing.tar").write_bytes(bytes(1024))
    return root


@pytest.mark.parametrize("words", invocations("images"))
def test_images(pair: Pair, words: str) -> None:
    pair.assert_same(words, STDIN.get(words, ""))


@pytest.mark.parametrize("compress", ["", "--compress "])
def test_contexts_are_the_same(pair: Pair, compress: str) -> None:
    """The image says what arrived: names, modes, owners, contents."""
    look = "FROM busybox\nCOPY . /c\nRUN cd /c; ls -lna . sub; cat a sub/b\n"
    words = f"build {compress}--no-cache -f {{dir}}/context/Look {{dir}}/context"
    (pair.directory / "context/Look").write_text(look)
    # Two compressors do not come to the same size.
    pair.assert_same(words, hide=r"daemon +\S+" if compress else "\0")


def test_archives_through_pipes(pair: Pair) -> None:
    """`cp -` both ways, and `save` into `load`."""
    pair.assert_same("create --name {me}-pipe busybox true")
    archive = (pair.directory / "files-zzo.tar").read_bytes()
    for words, stdin in (
        ("cp - {me}-pipe:/", archive),
        ("cp - {me}-pipe:/nosuch", archive),
        ("cp - {me}-pipe:/etc/passwd", archive),
        ("load", b""),
        ("load", bytes(1024)),
        ("import - {me}-piped", archive),
    ):
        pair.assert_same(words, stdin)
    for words, names in (
        ("cp {me}-pipe:/etc/imported -", ["imported"]),
        ("export {me}-pipe", None),
        ("save busybox", None),
    ):
        listings = []
        for side in ("theirs", "ours"):
            done = pair.raw(side, words)
            with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
                listings.append(sorted(tar.getnames()))
        assert listings[0] == listings[1]
        assert names is None or listings[0] == names
    pair.assert_same("rm {me}-pipe")
    for side in ("theirs", "ours"):
        assert pair.run(side, "rmi {me}-piped").status == 0
