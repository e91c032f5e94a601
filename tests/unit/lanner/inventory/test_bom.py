import json
from datetime import UTC, datetime

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from collector.procfs.installed_packages import InstalledPackage
from collector.procfs.loaded_files import LoadedFile
from lanner.inventory.bom import bom_text, purl_of
from lanner.inventory.loaded import LoadedBy, PackageUse, Root

NOW = datetime(2026, 11, 30, tzinfo=UTC)
HOSTILE = "a\nb\x1b[2J\u202e\udcff\x00/"


@pytest.mark.parametrize(
    ("package", "distribution", "purl"),
    [
        (
            InstalledPackage("dpkg", "coreutils", "9.1-1", "amd64", "coreutils", "9.1-1"),
            ("debian", "12"),
            "pkg:deb/debian/coreutils@9.1-1?arch=amd64&distro=debian-12",
        ),
        (
            InstalledPackage("dpkg", "libstdc++6", "1:12.2~a+b", "amd64", "gcc-12", "12.2"),
            ("ubuntu", "24.04"),
            "pkg:deb/ubuntu/libstdc%2B%2B6@1:12.2~a%2Bb?arch=amd64&distro=ubuntu-24.04&upstream=gcc-12%4012.2",
        ),
        (
            InstalledPackage("rpm", "curl", "1:8.2.1-4.fc39", "x86_64", "curl", "8.2.1-4.fc39"),
            ("fedora", "39"),
            "pkg:rpm/fedora/curl@8.2.1-4.fc39?arch=x86_64&distro=fedora-39&epoch=1",
        ),
        (
            InstalledPackage("apk", "libcrypto3", "3.1.4-r5", "x86_64", "openssl", "3.1.4-r5"),
            ("", ""),
            "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&upstream=openssl",
        ),
    ],
)
def test_packages_have_purls_as_scanners_write_them(
    package: InstalledPackage, distribution: tuple[str, str], purl: str
) -> None:
    """Source: the types deb, rpm and apk of the package URL specification."""
    assert purl_of(package, distribution).to_string() == purl


def test_a_bom_of_hostile_names_is_valid_and_in_order() -> None:
    """Names, versions and paths are escaped, long lists are cut, and components stay in the order of the inventory."""
    hostile = InstalledPackage("apk", HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    plain = InstalledPackage("apk", "a", "1", "x86_64", "a", "1")
    files = tuple(LoadedFile(f"/{HOSTILE}{number}", is_deleted=True) for number in range(40))
    use = PackageUse(hostile, (LoadedBy("x", 2, (0, 7), ("tcp 0.0.0.0:80",)),), files)
    roots = [
        Root("host", "", (), ("debian", "12"), (use, PackageUse(plain, (), files[:1])), (), 0),
        Root("web:1", "sha256:ab", ("web",), ("", ""), (use,), (), 0),
    ]
    text = bom_text(roots, "host\n", NOW)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = json.loads(text)
    assert [each["type"] for each in found["components"]] == [
        *("operating-system", "library", "library", "container", "library")
    ]
    assert [each["name"] for each in found["components"][1:3]] == ["a\\nb\\x1b[2J\\u202e\\xff\\x00/", "a"]
    properties = [(each["name"], each["value"]) for each in found["components"][1]["properties"]]
    assert ("lanner:process", "x, 2 processes, uid 0, 7, listens on tcp 0.0.0.0:80") in properties
    assert ("lanner:replaced_since_loaded", "true") in properties
    assert ("lanner:left_out", "0 process names and 24 files") in properties
    assert "\\u202e" in text
    assert text.isascii()
