"""`./orlop keys`: keys of your own for Secure Boot and for secrets in a TPM."""

import argparse
from pathlib import Path

from orlop.image.key_files import make_keys

_NEXT = """\
{folder}:
  PK, KEK, db     .key secret, .crt and .cer the certificate, .auth to enrol it
  pcr             .key secret, .pub: signs what a TPM must have measured
  enroll.img      for a USB stick: enrols them in firmware in setup mode that starts it
  ovmf-vars.fd    variables of a virtual machine's firmware in which they are enrolled
Keep the .key files where nobody else can read them. Then:
  ./orlop build --keys {folder}     makes out/orlop-signed.iso
  docs/secure-boot.md               how the firmware gets them"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./orlop keys", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    new = actions.add_parser("new", help="make a folder with new keys")
    new.add_argument("folder", metavar="DIR", type=Path, help="does not exist yet, or is empty")
    new.add_argument("--owner", default="Orlop", help="whose keys they are, in the certificates")
    options = parser.parse_args(argv)
    make_keys(options.folder, options.owner)
    print(_NEXT.format(folder=options.folder))
    return 0
