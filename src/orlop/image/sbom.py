"""The software bill of materials, as an SPDX 2.3 document in JSON.

Source: SPDX specification 2.3, clauses 6 to 11 and its JSON schema.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

from orlop import __version__
from orlop.image.licences import NO_ASSERTION, extracted_licences

_DOCUMENT = "SPDXRef-DOCUMENT"
_RELEASE = "SPDXRef-Package-orlop-release"
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9.-]+")


class Component(Protocol):
    """What is read of `manifest.Component`."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def kind(self) -> str: ...


def document(
    components: Sequence[Component], outputs: Mapping[str, Mapping[str, object]], *, epoch: int
) -> dict[str, object]:
    """The document for a release made of *components*; *outputs* has the checksum of the ISO."""
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    iso_sha256 = str(outputs["orlop.iso"]["sha256"])
    packages = [_release_package(iso_sha256), *(_package(component) for component in components)]
    licences = {component.licence for component in components}
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": f"orlop-{__version__}",
        # Only has to be a URI that no other document has; nothing is fetched from it.
        "documentNamespace": f"https://spdx.org/spdxdocs/orlop-{__version__}-{iso_sha256[:32]}",
        "creationInfo": {"created": created, "creators": [f"Tool: orlop-{__version__}"]},
        "packages": packages,
        "relationships": [
            _relationship(_DOCUMENT, "DESCRIBES", _RELEASE),
            *(_relationship(_RELEASE, "CONTAINS", spdx_id(component)) for component in components),
        ],
        "hasExtractedLicensingInfos": [
            {
                "licenseId": reference,
                "name": reference,
                "extractedText": "See the copyright file of the Debian package.",
            }
            for reference in extracted_licences(licences)
        ],
    }


def spdx_id(component: Component) -> str:
    """An identifier, unique in the document: a source may be linked and have a binary as well."""
    return f"SPDXRef-Package-{component.kind}-{_NOT_IN_ID.sub('-', component.name)}"


def _release_package(iso_sha256: str) -> dict[str, object]:
    return {
        "SPDXID": _RELEASE,
        "name": "orlop.iso",
        "versionInfo": __version__,
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": NO_ASSERTION,
        "copyrightText": NO_ASSERTION,
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "checksums": [{"algorithm": "SHA256", "checksumValue": iso_sha256}],
    }


def _package(component: Component) -> dict[str, object]:
    package: dict[str, object] = {
        "SPDXID": spdx_id(component),
        "name": component.name,
        "versionInfo": component.version,
        "downloadLocation": NO_ASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NO_ASSERTION,
        "licenseDeclared": component.licence,
        "copyrightText": NO_ASSERTION,
    }
    if component.kind != "own":
        package["supplier"] = "Organization: Debian"
        package["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl(component),
            }
        ]
        if component.source != component.name:
            package["sourceInfo"] = f"built from Debian's source package {component.source}"
    return package


def purl(component: Component) -> str:
    """The package URL: of the binary package, or of the source that was compiled or linked."""
    architecture = "amd64" if component.kind == "debian-binary" else "source"
    name, version = quote(component.name), quote(component.version, safe="")
    return f"pkg:deb/debian/{name}@{version}?arch={architecture}&distro=debian-13"


def _relationship(left: str, kind: str, right: str) -> dict[str, str]:
    return {"spdxElementId": left, "relationshipType": kind, "relatedSpdxElement": right}
