"""`service network apply` for a test: configuration and directories are arguments, and an end of a
cable between namespaces counts as a card.

    network_program.py SETTINGS OWN SHARED apply [look-up]
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "src"))

from orlop.services.network import act, main, plan
from orlop.wire.config.document import check_document
from orlop.wire.config.words import document


def run(settings: str, own: str, shared: str, *words: str) -> int:
    act.HARDWARE_KINDS.add("veth")
    hook = f"{Path(own).parent}/hook"
    plan.GLOBAL_OPTIONS = plan.GLOBAL_OPTIONS.replace(plan.HOOK_PATH, hook)
    network = json.loads(Path(settings).read_text())
    checked: Any = check_document(document(settings, ("orlop", "network"), network)).data
    found = checked.get("orlop", {}).get("network", {})
    changed = main.apply(found, own, shared, look_up="look-up" in words)
    return main.CHANGED_STATUS if changed else 0


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
