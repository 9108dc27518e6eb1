"""A template is parsed and executed or refused as a template error, within its bounds."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire.go_template.evaluate import Template

SEEDS = (
    b"{{.Name}}\t{{json .State}}{{range $i, $e := .List}}{{$i}}={{$e}},{{else}}none{{end}}",
    b'{{if and .A (not .B)}}yes{{else if eq .Name "x"}}no{{end}}{{with .State}}{{.Status}}{{end}}',
    b'{{printf "%-10s|%5d|%v" .Name 3 .List}}{{index .List 0 | upper}}{{/* no */ -}}  x',
    b"{{range .List}}{{break}}{{end}}{{len .Name}}{{slice .Name 1}}",
)
TOKENS = (
    *(b"{{", b"}}", b"{{-", b"-}}", b"end", b"range ", b"$", b":=", b"|", b"(", b")", b'"', b"`"),
    *(b"printf ", b"%*d", b"index ", b".", b"1e9", b"'a'", b"json "),
)
_VALUE = {"Name": "name", "State": {"Status": "running"}, "List": ["a", "b"], "A": True, "B": 0}


def check(data: bytes) -> None:
    try:
        text = Template(data.decode("utf-8", errors="replace")).execute(_VALUE)
    except InvalidArgument:
        return
    assert len(text) <= 16 << 20
