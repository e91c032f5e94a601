"""Reads vulnerabilities that a scanner found, and states for each whether the package that it is about is loaded.

Source: CycloneDX 1.4 to 1.6 (vulnerabilities with affects), and the JSON of grype (matches with artifacts).
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from packageurl import PackageURL

from collector.procfs.installed_packages import InstalledPackage
from foundation.text import printable
from lanner.errors import BadInput
from lanner.inventory.loaded import PackageUse, Root, loader_text

MAX_BYTES = 256 << 20
MAX_FOUND = 200_000
"""Pairs of a vulnerability and a package."""
_MAX_TEXT = 500
_MANAGERS = {"deb": "dpkg", "apk": "apk", "rpm": "rpm"}
_MAX_LOADERS = 8


@dataclass(frozen=True, slots=True)
class ScannedVulnerability:
    """A vulnerability of a package, as a scanner states it."""

    id: str
    source: str
    """Address of its description; empty if none is stated."""
    purl: PackageURL


@dataclass(frozen=True, slots=True)
class Observation:
    """When and how often processes were read."""

    begin: datetime
    end: datetime
    passes: int
    doubt: str
    """Why it isn't stated of other packages that they are not reachable."""
    only_mapped: frozenset[tuple[str, str, InstalledPackage]] = frozenset()
    """Packages, by name and version of their root, that can't have run without being seen at each pass."""

    @property
    def text(self) -> str:
        """The time and number of passes."""
        begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in (self.begin, self.end))
        return f"at {begin}" if self.passes == 1 else f"in {self.passes} passes from {begin} to {end}"


@dataclass(frozen=True, slots=True)
class LoadingAnalysis:
    """What can be stated of a vulnerability of a package of a root."""

    is_loaded: bool
    is_not_reachable: bool
    """True if it was not loaded, for as long as it was observed, and would have been seen."""
    detail: str


@dataclass(frozen=True, slots=True)
class PackageVulnerability:
    """A vulnerability of a package of a root, and what is known about it there."""

    vulnerability: ScannedVulnerability
    root: Root
    use: PackageUse


def read_vulnerabilities(text: bytes, file: str) -> list[ScannedVulnerability]:
    """Return the vulnerabilities in a file, each once for each package.

    Raises:
        BadInput: It is no JSON, or has neither of the formats.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file}: is not JSON: {error}.") from None
    if isinstance(document, dict) and isinstance(document.get("matches"), list):
        found = _of_grype(document)
    elif isinstance(document, dict) and document.get("bomFormat") == "CycloneDX":
        found = _of_cyclonedx(document)
    else:
        raise BadInput(f"{file}: is neither CycloneDX JSON with vulnerabilities nor grype's JSON (grype -o json).")
    each = list(dict.fromkeys(found))
    if len(each) > MAX_FOUND:
        raise BadInput(f"{file}: has {len(each):,} vulnerabilities of packages; at most {MAX_FOUND:,} are read.")
    return each


def _of_grype(document: Mapping[str, Any]) -> Iterator[ScannedVulnerability]:
    for match in _objects(document["matches"]):
        vulnerability, artifact = _object(match.get("vulnerability")), _object(match.get("artifact"))
        yield from _one(vulnerability.get("id"), vulnerability.get("dataSource"), artifact.get("purl"))


def _of_cyclonedx(document: Mapping[str, Any]) -> Iterator[ScannedVulnerability]:
    purls: dict[str, Any] = {}
    waiting = [*_objects(document.get("components"))]
    while waiting:
        component = waiting.pop()
        if isinstance(reference := component.get("bom-ref"), str):
            purls[reference] = component.get("purl")
        waiting += _objects(component.get("components"))
    for vulnerability in _objects(document.get("vulnerabilities")):
        source = _object(vulnerability.get("source")).get("url")
        for affected in _objects(vulnerability.get("affects")):
            reference = affected.get("ref")
            # A reference to a component of another BOM ends with its purl or bom-ref.
            if isinstance(reference, str):
                yield from _one(vulnerability.get("id"), source, purls.get(reference, reference.rpartition("#")[2]))


def _one(identity: Any, source: Any, purl: Any) -> Iterator[ScannedVulnerability]:
    if isinstance(identity, str) and isinstance(purl, str) and identity and len(purl) <= _MAX_TEXT:
        try:
            parsed = PackageURL.from_string(purl)
        except ValueError:
            return
        address = source if isinstance(source, str) and source.startswith(("http://", "https://")) else ""
        yield ScannedVulnerability(printable(identity[:_MAX_TEXT]), printable(address[:_MAX_TEXT]), parsed)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def findings(found: Sequence[ScannedVulnerability], roots: Sequence[Root]) -> tuple[list[PackageVulnerability], int]:
    """Return the vulnerabilities of packages that are installed, and how many are about none.

    A package is meant if manager, distribution, name and version are those of the purl, as far as it states them. Its
    name may also be that of the source package, as in Debian's own lists.
    """
    by_name: dict[tuple[str, str], list[tuple[Root, PackageUse]]] = defaultdict(list)
    for root in roots:
        for use in (*root.uses, *(PackageUse(package) for package in root.others)):
            package = use.package
            for name in {package.name, package.source or package.name}:
                by_name[package.manager, name].append((root, use))
    results, missed = [], 0
    for each in found:
        candidates = by_name.get((_MANAGERS.get(each.purl.type, ""), each.purl.name), [])
        own = [
            PackageVulnerability(each, root, use) for root, use in candidates if _is_meant(each.purl, root, use.package)
        ]
        # Most sources have a package of their name, which alone is meant unless the source is.
        named = [one for one in own if one.use.package.name == each.purl.name]
        results += own if _qualifiers(each.purl).get("arch") == "source" else named or own
        missed += not own
    results.sort(key=lambda one: (not one.use.is_network_facing, not one.use.is_loaded))
    return results, missed


def _is_meant(purl: PackageURL, root: Root, package: InstalledPackage) -> bool:
    if purl.namespace and root.distribution[0] and purl.namespace != root.distribution[0]:
        return False
    qualifiers = _qualifiers(purl)
    is_source = package.name != purl.name or qualifiers.get("arch") == "source"
    if not is_source and qualifiers.get("arch") not in {None, package.arch}:
        return False
    own, stated = package.source_version if is_source else package.version, purl.version
    if purl.type == "rpm":
        # Zero and no epoch are the same. The name of a source package has none.
        own = own.removeprefix("0:")
        epoch = "" if is_source else qualifiers.get("epoch", "0")
        stated = f"{epoch}:{stated}" if stated and epoch not in {"", "0"} else stated
    return not stated or stated == own


def _qualifiers(purl: PackageURL) -> Mapping[str, str]:
    return purl.qualifiers if isinstance(purl.qualifiers, dict) else {}


def analysis(finding: PackageVulnerability, observation: Observation) -> LoadingAnalysis:
    """Return what can be stated of a vulnerability of a package.

    That a package isn't loaded counts only if processes were observed for a while, all of them could be read, and its
    code can't run without being mapped.
    """
    use = finding.use
    if use.is_loaded:
        loaders = "; ".join(map(loader_text, use.loaders[:_MAX_LOADERS]))
        more = "" if len(use.loaders) <= _MAX_LOADERS else f"; and {len(use.loaders) - _MAX_LOADERS} more names"
        facing = "Loaded by a process that listens on the network" if use.is_network_facing else "Loaded"
        old = " A process has files from before the package was changed." if use.is_replaced else ""
        return LoadingAnalysis(True, False, f"{facing}: {loaders}{more}.{old}")
    seen = f"No process had it loaded {observation.text}."
    if (finding.root.name, finding.root.version, use.package) in observation.only_mapped:
        return LoadingAnalysis(
            False, True, f"{seen} Code that ran between two passes, or at other times, was not seen."
        )
    return LoadingAnalysis(False, False, f"{seen} {observation.doubt}")
