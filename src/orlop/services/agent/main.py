"""The program of the `agent` service."""

import os

from orlop.services.agent.jobs import ENVIRONMENT
from orlop.services.agent.service import serve_forever


def main(argv: list[str]) -> int:
    """Serve until killed; running commands end with the container."""
    os.environ.update(ENVIRONMENT)  # commands are looked for in its PATH
    serve_forever()
    return 0
