import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from collector.procfs.installed_packages import InstalledPackage
from collector.procfs.loaded_files import LoadedFile
from lanner.errors import BadInput
from lanner.inventory.bom import bom_text
from lanner.inventory.loaded import LoadedBy, PackageUse, Root
from lanner.inventory.vulnerabilities import Observation, analysis, findings, read_vulnerabilities

BEGIN, END = datetime(2026, 11, 30, 12, tzinfo=UTC), datetime(2026, 11, 30, 12, 10, tzinfo=UTC)
SSL = InstalledPackage("dpkg", "libssl3", "3.0.11-1", "amd64", "openssl", "3.0.11-1")
TOOL = InstalledPackage("dpkg", "openssl", "3.0.11-1", "amd64", "openssl", "3.0.11-1")
XML = InstalledPackage("rpm", "libxml2", "1:2.9-1.fc39", "x86_64", "libxml2", "2.9-1.fc39")
FILE = LoadedFile("/usr/lib/libssl.so.3", is_deleted=True)
USE = PackageUse(SSL, (LoadedBy("nginx", 3, (33,), ("tcp 0.0.0.0:443",)),), (FILE,))
HOST = Root("host", "", (), ("debian", "12"), (USE,), (TOOL,), 0)
IMAGE = Root("web:1", "sha256:ab", ("web",), ("fedora", "39"), (), (XML,), 0)


def grype(*purls: str) -> bytes:
    """Return grype's result with a vulnerability for each package."""
    matches = [
        {"vulnerability": {"id": f"CVE-{number}", "dataSource": "https://example.org/"}, "artifact": {"purl": purl}}
        for number, purl in enumerate(purls)
    ]
    return json.dumps({"matches": matches}).encode()


@pytest.mark.parametrize(
    ("purl", "packages"),
    [
        ("pkg:deb/debian/libssl3@3.0.11-1?arch=amd64&distro=debian-12&upstream=openssl", [SSL]),
        ("pkg:deb/debian/libssl3", [SSL]),
        ("pkg:deb/debian/libssl3@3.0.11-2", []),
        ("pkg:deb/debian/libssl3@3.0.11-1?arch=i386", []),
        ("pkg:deb/ubuntu/libssl3@3.0.11-1", []),
        ("pkg:apk/debian/libssl3@3.0.11-1", []),
        ("pkg:deb/debian/openssl@3.0.11-1", [TOOL]),
        ("pkg:deb/debian/openssl@3.0.11-1?arch=source", [SSL, TOOL]),
        ("pkg:rpm/fedora/libxml2@2.9-1.fc39?epoch=1&arch=x86_64", [XML]),
        ("pkg:rpm/fedora/libxml2@2.9-1.fc39", []),
        ("pkg:npm/libssl3@3.0.11-1", []),
    ],
)
def test_packages_are_found_by_purl(purl: str, packages: list[InstalledPackage]) -> None:
    """By what it states: a binary package by name, others by that of their source."""
    found, missed = findings(read_vulnerabilities(grype(purl), "scan.json"), [HOST, IMAGE])
    assert [each.use.package for each in found] == packages
    assert missed == (not packages)


def test_cyclonedx_states_purls_by_reference() -> None:
    """Also nested ones, and those of another BOM; what has a wrong type is left out."""
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "components": [
            {"bom-ref": "a", "components": [{"bom-ref": "b", "purl": "pkg:deb/debian/b@1"}]},
            {"bom-ref": 7, "purl": []},
            "x",
        ],
        "vulnerabilities": [
            {"id": "CVE-1", "affects": [{"ref": "b"}, {"ref": "urn:cdx:0/1#pkg:deb/debian/c@1"}, {"ref": 7}, None]},
            {"id": 3, "affects": [{"ref": "b"}]},
            {"id": "CVE-2\n", "source": {"url": "javascript:x"}, "affects": [{"ref": "b"}, {"ref": "b"}, {"ref": "a"}]},
        ],
    }
    found = read_vulnerabilities(json.dumps(document).encode(), "scan.json")
    assert [(each.id, each.source, each.purl.name) for each in found] == [
        ("CVE-1", "", "b"),
        ("CVE-1", "", "c"),
        ("CVE-2\\n", "", "b"),
    ]


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b'{"matches": 3}'])
def test_another_file_is_refused(text: bytes) -> None:
    """The message names it, and what is expected."""
    with pytest.raises(BadInput, match=r"^scan\.json: is (neither|not JSON)"):
        read_vulnerabilities(text, "scan.json")


def test_what_is_not_loaded_is_not_affected_only_if_it_would_have_been_seen() -> None:
    """Each component that a vulnerability refers to is in the BOM, loaded or not, and the BOM is valid."""
    scanned = read_vulnerabilities(grype("pkg:deb/debian/openssl?arch=source", "pkg:rpm/fedora/libxml2"), "scan.json")
    found, _ = findings(scanned, [HOST, IMAGE])
    sure = Observation(BEGIN, END, 121, "It has scripts.", frozenset({("web:1", "sha256:ab", XML)}))
    stated = [(one, analysis(one, sure)) for one in found]
    assert [(each.is_loaded, each.is_not_reachable) for _, each in stated] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    seen = "No process had it loaded in 121 passes from 2026-11-30T12:00:00Z to 2026-11-30T12:10:00Z."
    loaded = "Loaded by a process that listens on the network: nginx, 3 processes, uid 33, listens on tcp 0.0.0.0:443."
    assert [each.detail for _, each in stated] == [
        f"{loaded} A process has files from before the package was changed.",
        f"{seen} It has scripts.",
        f"{seen} Code that ran between two passes, or at other times, was not seen.",
    ]
    text = bom_text([HOST, IMAGE], "host", END, stated)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    references = {each["bom-ref"] for each in document["components"]}
    vulnerabilities = document["vulnerabilities"]
    assert [each["analysis"].get("justification") for each in vulnerabilities] == [None, None, "code_not_reachable"]
    assert [each["id"] for each in vulnerabilities] == ["CVE-0", "CVE-0", "CVE-1"]
    assert {target["ref"] for each in vulnerabilities for target in each["affects"]} <= references
    moment = analysis(found[2], Observation(BEGIN, BEGIN, 1, "A moment."))
    assert moment.detail == "No process had it loaded at 2026-11-30T12:00:00Z. A moment."
