"""The program of the `syslog` service."""

from orlop.services.syslog.service import SyslogService


def main(argv: list[str]) -> int:
    """Serve until SIGTERM. SIGHUP makes it read its settings again."""
    service = SyslogService()
    service.handle_signals()
    service.run()
    return 0
