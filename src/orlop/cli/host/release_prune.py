"""`./orlop release prune`: room for more releases.

What no channel, barrier or dead end needs leaves the metadata now, and the disk when no machine can
be at it any more: with the next prune after the grace. Run it from time to time.
"""

import argparse
import json

from orlop.cli.host.release_options import add_places, make_parser, parse_days
from orlop.image import release_keys, release_pruning, release_repository
from orlop.image.release_maker import KEPT_RELEASES
from orlop.image.release_pruning import GRACE_DAYS, Rubbish, Verdict
from orlop.image.release_repository import Repository
from orlop.lib.errors import InvalidArgument
from orlop.wire.json_fields import MAX_ITEMS, format_moment
from orlop.wire.tuf.metadata import FileInfo


def prune(argv: list[str]) -> None:
    """Without what no channel needs any more."""
    options = _parse(argv)
    if options.keep < 0:
        raise InvalidArgument("--keep: a number from 0 expected")
    days = 0 if options.grace in ("0", "0d") else parse_days(options.grace, "--grace")
    with release_repository.alone(options.out):
        repository = release_repository.open_repository(options.out)
        verdicts, going = release_pruning.plan(repository, options.keep)
        if options.dry_run:
            rubbish = release_pruning.find_rubbish(repository, days, going)
        else:
            if going:
                keys = release_keys.read(*options.key)
                repository.targets = _without(repository.targets, going)
                release_repository.publish(repository, keys, days=parse_days(options.expires))
            rubbish = release_pruning.find_rubbish(repository, days)
            rubbish.delete()
    repository.targets = _without(repository.targets, going)
    if options.json:
        print(json.dumps(_as_json(repository, verdicts, rubbish), indent=1))
    else:
        changed = [one for one in verdicts if one.names() & going]
        _describe(repository, changed, rubbish, dry=options.dry_run)


def _without(targets: dict[str, FileInfo], going: set[str]) -> dict[str, FileInfo]:
    return {name: info for name, info in targets.items() if name not in going}


def _describe(
    repository: Repository, changed: list[Verdict], rubbish: Rubbish, *, dry: bool
) -> None:
    for one in changed:
        text = f"release {one.release.version}, sequence {one.release.sequence}: "
        if one.whole:
            continue
        print(text + (f"only its manifest stays: {one.why}" if one.manifest else "leaves"))
    will = "would be deleted" if dry else "deleted"
    print(f"{len(rubbish.old)} files with {sum(rubbish.old.values()):,} bytes {will}")
    if rubbish.young:
        size, until = sum(rubbish.young.values()), format_moment(int(rubbish.until) + 1)
        print(f"{len(rubbish.young)} files with {size:,} bytes can be, from {until} on")
    print(f"{len(repository.targets):,} of {MAX_ITEMS:,} files are in targets.json")


def _as_json(
    repository: Repository, verdicts: list[Verdict], rubbish: Rubbish
) -> dict[str, object]:
    rows = [
        {
            "version": one.release.version,
            "sequence": one.release.sequence,
            "kept": "whole" if one.whole else "manifest" if one.manifest else "nothing",
            "why": one.why or None,
        }
        for one in verdicts
    ]
    names = {
        key: sorted(str(path.relative_to(repository.directory)) for path in files)
        for key, files in (("deleted", rubbish.old), ("waiting", rubbish.young))
    }
    return {
        "releases": rows,
        **names,
        "deleted_bytes": sum(rubbish.old.values()),
        "waiting_bytes": sum(rubbish.young.values()),
        "waiting_until": format_moment(int(rubbish.until) + 1) if rubbish.young else None,
        "files": len(repository.targets),
        "files_limit": MAX_ITEMS,
    }


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = make_parser("prune", epilog=__doc__)
    add_places(parser, key=True, required=False)
    parser.add_argument(
        "--keep",
        type=int,
        default=KEPT_RELEASES,
        metavar="N",
        help=f"the N newest releases stay in any case ({KEPT_RELEASES})",
    )
    parser.add_argument(
        "--grace",
        default=f"{GRACE_DAYS}d",
        metavar="DAYS",
        help=f"how long files stay that no newer metadata names ({GRACE_DAYS}d); 0d: not at all",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say so; takes no key")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--expires", default="", metavar="DAYS", help="of the metadata")
    options = parser.parse_args(argv)
    if not options.key and not options.dry_run:
        parser.error("the following arguments are required: --key")
    return options
