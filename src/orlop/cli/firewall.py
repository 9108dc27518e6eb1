"""`orlop firewall`: what is let in to the machine, and why."""

from __future__ import annotations

from orlop.cli.answers import Object, get_object, objects, strings_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "firewall [show|ruleset] [--json]"
OPTIONS = (Option("json", help="as the machine's API gives it"),)
WORDS = (0, 1)

_SERVICES = "ports of the system's services"
_CONTAINERS = "what containers publish, and listen on in the machine's network"


def run(arguments: Arguments) -> int:
    if arguments.words not in ([], ["show"], ["ruleset"]):
        raise UsageError(
            f"{arguments.words[0]!r} is nothing that firewall can do; rules are set with "
            "orlop config set orlop.firewall.rules"
        )
    answer = get_object(Client(), "/orlop/firewall")
    if arguments.flag("json"):
        print(encode(answer))
    elif arguments.words == ["ruleset"]:
        print(text_of(answer, "ruleset"), end="")
    else:
        print("\n".join(map(printable, lines(answer))))
    return 0


def lines(answer: Object) -> list[str]:
    """The rules in the order in which they are asked."""
    if not answer.get("enabled"):
        return ["off: orlop.firewall.enabled is false"]
    if not answer.get("in_force"):
        return ["not in force: the kernel does not take the rules; see orlop status"]
    found = [rule_line(rule) for rule in objects(answer.get("rules") or [], "rules")]
    if ports := strings_of(answer, "ports"):
        found.append(f"allow  {', '.join(ports)}: {_SERVICES}")
    found.append(f"allow  {_CONTAINERS}")
    policy = text_of(answer, "policy")
    logged = ", and write it to the log" if answer.get("log") and policy != "accept" else ""
    return [*found, f"{'allow' if policy == 'accept' else policy:6} everything else{logged}"]


def rule_line(rule: Object) -> str:
    """One configured rule in words."""
    what = ", ".join(strings_of(rule, "ports")) or text_of(rule, "protocol") or "everything"
    parts = [f"{text_of(rule, 'action'):6} {what}"]
    for key, word in (("from", "from"), ("interfaces", "by")):
        if texts := strings_of(rule, key):
            parts.append(f"{word} {', '.join(texts)}")
    if text_of(rule, "to") == "containers":
        parts.append("to what containers publish")
    return " ".join(parts)
