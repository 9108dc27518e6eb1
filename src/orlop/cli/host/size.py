"""`./orlop size`: where the bytes of the image are, and whether they are within the budget.

The table and the budget are `orlop.image.size`.
"""

from orlop.cli.host import build
from orlop.cli.host.settings import host_settings


def main(argv: list[str]) -> int:
    from orlop.image import size

    if not {"-h", "--help"} & set(argv):
        status = build.main([])
        if status != 0:
            return status
    return size.main(host_settings().checkout, argv)
