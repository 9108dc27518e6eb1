"""`./orlop size`: where the bytes of the image are, and whether they are within the budget.

The table and the budget are `orlop.image.size`.
"""

from orlop.cli import host_build
from orlop.cli.host_settings import host_settings


def main(argv: list[str]) -> int:
    from orlop.image import size

    if not {"-h", "--help"} & set(argv):
        status = host_build.main([])
        if status != 0:
            return status
    return size.main(host_settings().checkout, argv)
