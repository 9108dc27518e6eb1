"""`docker version`."""

from __future__ import annotations

import os

from orlop import __version__
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import STRING, Flag
from orlop.cli.docker.session import API_VERSION, as_object, as_objects
from orlop.cli.docker.tabwriter import align
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FLAGS = (Flag("format", "f", STRING, "json, or a Go template"),)
FORMAT_STATUS = 64
MIN_WIDTH, PADDING = 20, 1
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_ENGINE_LINES = (
    ("Version", None),
    ("API version", "ApiVersion"),
    ("Go version", "GoVersion"),
    ("Git commit", "GitCommit"),
    ("Built", "BuildTime"),
    ("OS/Arch", "Os"),
    ("Experimental", "Experimental"),
)


def one_line() -> str:
    """What `docker --version` says."""
    return f"Docker version {__version__}, build orlop"


def client(session: Session) -> Object:
    """What `.Client` is in a template."""
    machine = os.uname().machine
    return {
        "Version": __version__,
        "ApiVersion": session.api_version,
        "DefaultAPIVersion": API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": _ARCHITECTURES.get(machine, machine),
        "BuildTime": "",
        "Context": "default",
    }


def run(session: Session, values: Values) -> int:
    form = values.text("format")
    ours = client(session)
    failure, server = None, None
    try:
        server = session.get_object("/version")
    except OrlopError as error:
        failure = error
    if form:
        kind = "system.versionInfo"
        print(formatted(form, {"Client": ours, "Server": server}, kind, "version"))
    else:
        text = "Client:\n" + "\n".join(_client_lines(ours))
        if server is not None:
            platform = str(as_object(server.get("Platform") or {}).get("Name") or "")
            title = f"Server: {platform}".rstrip()
            text += f"\n\n{title}\n" + "\n".join(_server_lines(server))
        print(align(text, min_width=MIN_WIDTH, padding=PADDING))
    if failure is not None:
        raise failure
    return 0


def formatted(form: str, value: Object, kind: str, name: str = "") -> str:
    """*value*, a Go struct of type *kind*, as JSON or by the template *form* called *name*.

    Raises:
        Failure: the template is wrong.
    """
    from orlop.wire.go_template.errors import TemplateError
    from orlop.wire.go_template.evaluate import Template
    from orlop.wire.go_template.values import Struct, json_text, typed

    if form == "json":
        return json_text(value)
    try:
        template = Template(form, name)
    except TemplateError as error:
        raise Failure(f"template parsing error: {error}", FORMAT_STATUS) from None
    root = typed(value)
    assert isinstance(root, dict)
    try:
        return template.execute(Struct(root, kind))
    except TemplateError as error:
        print()
        raise Failure(error.message) from None


def _client_lines(ours: Object) -> list[str]:
    return [
        f" Version:\t{ours['Version']}",
        f" API version:\t{ours['ApiVersion']}",
        f" OS/Arch:\t{ours['Os']}/{ours['Arch']}",
    ]


def _server_lines(server: Object) -> list[str]:
    lines = []
    for component in as_objects(server.get("Components")):
        name = str(component.get("Name", ""))
        details = as_object(component.get("Details") or {})
        lines.append(f" {name}:")
        if name != "Engine":
            lines.append(f"  Version:\t{component.get('Version', '')}")
            lines += [f"  {key}:\t{details[key]}" for key in sorted(details)]
            continue
        for title, key in _ENGINE_LINES:
            value = str(details.get(key, "") if key else component.get("Version", ""))
            if key == "ApiVersion":
                value += f" (minimum version {details.get('MinAPIVersion', '')})"
            if key == "Os":
                value += f"/{details.get('Arch', '')}"
            lines.append(f"  {title}:\t{value}")
    return lines


COMMANDS = {"version": Command(run, "[OPTIONS]", FLAGS)}
