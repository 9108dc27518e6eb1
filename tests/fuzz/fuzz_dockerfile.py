"""A Dockerfile and an ignore file are parsed or refused as invalid, in no more than a moment."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile.dockerfile import parse_dockerfile
from orlop.wire.dockerfile.ignore import parse_ignore

SEEDS = (
    b"# escape=\\\nARG V=1\nFROM busybox:${V:-2} AS one\nRUN --network=none echo \\\n  $V\n",
    b'FROM one\nCOPY --from=one --chown=1:2 ["a b", "/c/"]\nCMD ["sh", "-c", "x"]\nONBUILD RUN y\n',
    b"FROM scratch\nRUN <<EOF cat > /x\nhello $A\nEOF\nHEALTHCHECK --interval=1s CMD true\n",
    b'FROM a\nENV A=b C="d e" F=\'g\'\nLABEL x=y\nEXPOSE 80/tcp 1-3\nVOLUME ["/v"]\nUSER 1:2\n',
    b"*.log\n!keep.log\n**/node_modules\n# no\n/a/../b\n",
)
TOKENS = (
    *(
        b"FROM ",
        b"RUN ",
        b"COPY ",
        b"<<EOF\n",
        b"\\\n",
        b"${",
        b"}",
        b":-",
        b"%%",
        b"[",
        b"]",
        b'"',
    ),
    *(b"--mount=type=bind,from=x ", b"**", b"!", b"[^a-z]", b"\n", b"$A", b"ONBUILD "),
)


def check(data: bytes) -> None:
    try:
        parse_dockerfile(data)
    except InvalidArgument:
        pass
    try:
        rules = parse_ignore(data)
        assert rules.ignores("a/b") in (True, False)
    except InvalidArgument:
        return
