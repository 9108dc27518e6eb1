"""Go templates: what is printed, what is refused, and that nothing is without bounds.

Expectations were taken from docker's own command on the same values.
"""

from __future__ import annotations

import pytest

from orlop.wire.go_template import evaluate, lexer, parser
from orlop.wire.go_template.errors import TemplateError
from orlop.wire.go_template.evaluate import Template
from orlop.wire.go_template.functions import HEADER_FUNCTIONS
from orlop.wire.go_template.values import Map, Struct, plain_maps, typed

VALUE = typed(
    {
        "Id": "abc",
        "Name": "/box",
        "State": {"Status": "running", "Pid": 5, "Running": True},
        "Config": {"Labels": {"b": "2", "a": "1"}, "Env": ["A=1", "B=2"], "Empty": []},
        "HostConfig": {
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        },
        "Size": 1.5,
        "Nothing": None,
        "Args": None,
        "Networks": None,
        "NetworkSettings": {"Ports": {"80/tcp": None}},
    }
)


OUT_OF_RANGE = "index out of range: 9"
NULLS = "map[80/tcp:[]]<no value>"
SLICED = "box bo /b  x  |"
COMPARED = "truetruetruetruetruefalsetrue"
FORMATTED = "00007|ff|<nil>|true|2.5|%|[A=1 B=2]"


def printed(template: str) -> str:
    return Template(template).execute(VALUE)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("plain {text}", "plain {text}"),
        ("{{.Name}}", "/box"),
        ("{{ .State.Status }}", "running"),
        ("{{.ID}}", "abc"),
        ("{{.State}}", "{running 5 true}"),
        ('{{printf "%+v" .State}}', "{Status:running Pid:5 Running:true}"),
        ("{{.Config.Labels}}", "map[a:1 b:2]"),
        ("{{.Config.Labels.a}} {{.Config.Labels.c}}", "1 <no value>"),
        ('{{index .Config.Labels "b"}}{{index .Config.Labels "c"}}', "2"),
        ("{{.HostConfig.PortBindings}}", "map[80/tcp:[{ 8080}]]"),
        ('{{(index .HostConfig.PortBindings "80/tcp" 0).HostPort}}', "8080"),
        ("{{.HostConfig.LogConfig}}", "{json-file map[max-size:1m]}"),
        ("{{.Nothing}} {{.State.Health}} {{.Size}}", "<nil> <nil> 1.5"),
        ("{{.Args}}{{.Networks}}{{len .Args}}{{json .Args}}", "[]map[]0null"),
        ("{{.NetworkSettings.Ports}}{{range .Args}}x{{end}}{{.Networks.x}}", NULLS),
        ("{{json .Config}}", '{"Labels":{"b":"2","a":"1"},"Env":["A=1","B=2"],"Empty":[]}'),
        ("{{range .Config.Env}}[{{.}}]{{end}}", "[A=1][B=2]"),
        ("{{range $i, $e := .Config.Env}}{{if $i}},{{end}}{{$e}}{{end}}", "A=1,B=2"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}{{$v}}{{end}}", "a1b2"),
        ("{{range .Config.Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Config.Env}}{{if eq . `A=1`}}{{continue}}{{end}}{{.}}{{break}}{{end}}", "B=2"),
        ("{{if .Nothing}}a{{else if .Name}}b{{else}}c{{end}}", "b"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .Nothing}}x{{else}}y{{end}}", "5y"),
        ("{{with $s := .State}}{{$s.Pid}}{{$.Name}}{{end}}", "5/box"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("a {{- /* no */ -}} b {{- 1 -}} c", "ab1c"),
        ("{{/* comment */}}x", "x"),
        ("{{'a'}} {{0x10}} {{1e3}} {{-3}} {{true}} {{\"q\\n\"}}{{`r`}}", "97 16 1000 -3 true q\nr"),
        ('{{.Name | printf "%-6s|" | upper}}', "/BOX  |"),
        ("{{len .Config.Env}}{{len .Name}}{{len .Config.Labels}}", "242"),
        ('{{join .Config.Env "+"}} {{lower "AB"}} {{title "ab cd"}}', "A=1+B=2 ab Ab Cd"),
        ('{{range split "a,b" ","}}<{{.}}>{{end}}', "<a><b>"),
        ('{{slice .Name 1}} {{slice .Name 1 3}} {{truncate .Name 2}} {{pad "x" 1 2}}|', SLICED),
        ("{{println 1 `a`}}{{print 1 2 `a` 3}}", "1 a\n1 2a3"),
        ("{{and 1 0}}{{or 0 `x`}}{{not 0}}", "0xtrue"),
        ("{{eq 1 1}}{{eq 1 2 1}}{{ne `a` `b`}}{{lt 1 2}}{{le 2 2}}{{gt 1 2}}{{ge 3 2}}", COMPARED),
        ('{{html "<a>"}}{{urlquery "a b&"}}{{js "\'"}}', "&lt;a&gt;a+b%26\\'"),
        ('{{printf "%05d|%x|%v|%t|%.1f|%%|%s" 7 255 .Nothing true 2.55 .Config.Env}}', FORMATTED),
        ('{{printf "%d" "x"}}{{printf "%s"}}', "%!d(string=x)%!s(MISSING)"),
    ],
)
def test_prints(template: str, expected: str) -> None:
    assert printed(template) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{", ":1: unclosed action"),
        ("a\n{{.", ":2: unclosed action"),
        ("{{end}}", ":1: unexpected {{end}}"),
        ("{{if .A}}", ":1: unexpected EOF"),
        ("{{if}}x{{end}}", ":1: missing value for if"),
        ("{{nope}}", ':1: function "nope" not defined'),
        ("{{$x}}", ':1: undefined variable "$x"'),
        ("{{1 | 2}}", ":1: non executable command in pipeline stage 2"),
        ("{{(1}}", ":1: unclosed left paren"),
        ("{{1)}}", ":1: unexpected right paren"),
        ('{{"a}}', ":1: unterminated quoted string"),
        ("{{/* a", ":1: unclosed comment"),
        ("{{break}}", ":1: {{break}} outside {{range}}"),
        ("{{template `x`}}", ":1: template is not supported here"),
        ("{{.A!}}", ":1: bad character U+0021 '!'"),
        ("{{if 1}}{{else}}{{else}}{{end}}", ":1: expected end; found {{else}}"),
    ],
)
def test_does_not_parse(template: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(template)
    assert caught.value.message == f"template: {message}"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Foo}}", '1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("x\n {{.Foo.B}}", '2:7: executing "" at <.Foo.B>: map has no entry for key "Foo"'),
        (
            "{{index .Config.Env 9 }}",
            '1:2: executing "" at <index .Config.Env 9>: error calling index: ' + OUT_OF_RANGE,
        ),
        ("{{len 1}}", '1:2: executing "" at <len 1>: error calling len: len of type int'),
        ("{{len}}", '1:2: executing "" at <len>: wrong number of args for len: want 1 got 0'),
        ("{{range .Size}}{{end}}", '1:8: executing "" at <.Size>: range can\'t iterate over 1.5'),
        ("{{eq 1 `a`}}", '1:2: executing "" at <eq 1 `a`>: incompatible types for comparison'),
        ("{{.Name 1}}", None),
        ("{{.Nothing.More}}", None),
        ("{{upper 1}}", None),
    ],
)
def test_cannot_be_executed(template: str, message: str | None) -> None:
    with pytest.raises(TemplateError) as caught:
        printed(template)
    if message is not None:
        assert caught.value.message == f"template: :{message}"


def test_the_raw_value_is_strict() -> None:
    value = plain_maps({"A": {"B": 1}})
    assert Template("{{.A.B}}").execute(value, strict=True) == "1"
    with pytest.raises(TemplateError, match="no entry for key"):
        Template("{{.A.C}}").execute(value, strict=True)


def test_a_named_struct_is_named_in_errors() -> None:
    with pytest.raises(TemplateError, match=r"version:1:2: .* in type system\.versionInfo"):
        Template("{{.No}}", "version").execute(Struct({}, "system.versionInfo"))


def test_rows_answer_for_themselves() -> None:
    class Row:
        type_name = "*x.Row"

        def template_field(self, name: str) -> object:
            return {"A": "a"}[name]

        def template_method(self, name: str, arguments: object) -> object:
            return f"{name}{arguments}"

        def json_text(self) -> str:
            return "{}"

    assert Template('{{.A}} {{.Label "x"}} {{json .}}').execute(Row()) == "a Label['x'] {}"
    with pytest.raises(TemplateError, match="can't evaluate field B in type"):
        Template("{{.B}}").execute(Row())


def test_titles_are_not_changed_by_functions() -> None:
    titles = Map({"A": "Title A"})
    assert Template("{{upper .A}}{{json .A}}").execute(titles, functions=HEADER_FUNCTIONS) == (
        "Title ATitle A"
    )


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TemplateError, match="too long"):
        Template("x" * (lexer.MAX_TEMPLATE + 1))
    with pytest.raises(TemplateError, match="nested too deeply"):
        Template("{{if 1}}" * (parser.MAX_DEPTH + 2) + "{{end}}" * (parser.MAX_DEPTH + 2))
    with pytest.raises(TemplateError, match="nested too deeply"):
        Template("{{" + "(" * 100 + "1" + ")" * 100 + "}}")
    with pytest.raises(TemplateError, match="too much"):
        Template('{{printf "%100000d" 1}}').execute(None)
    monkeypatch.setattr(evaluate, "MAX_STEPS", 1000)
    with pytest.raises(TemplateError, match="too long"):
        Template("{{range 100000}}{{range 100000}}{{end}}{{end}}").execute(None)
    monkeypatch.setattr(evaluate, "MAX_OUTPUT", 100)
    with pytest.raises(TemplateError, match="output is too long"):
        Template("{{range 100}}xxxxxxxxxx{{end}}").execute(None)


def test_every_prefix_parses_or_is_refused() -> None:
    whole = '{{- range $i, $e := .Config.Env -}}{{if (eq $i 1)}}{{$e | printf "%q"}}{{end}}{{end}}'
    for end in range(len(whole)):
        try:
            Template(whole[:end]).execute(VALUE)
        except TemplateError:
            continue
