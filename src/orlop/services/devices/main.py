"""The program of the `devices` service."""

from orlop.services.devices.service import DeviceService


def main(argv: list[str]) -> int:
    """Serve until killed; what is under /dev stays as it is then."""
    DeviceService().run()
    return 0
