"""Makes a CycloneDX BOM of an inventory: a component for each loaded package, and what is known of vulnerabilities.

Source: CycloneDX 1.6; the purls of deb, rpm and apk in the package URL specification.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from cyclonedx.model import Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.impact_analysis import ImpactAnalysisJustification, ImpactAnalysisState
from cyclonedx.model.vulnerability import BomTarget, Vulnerability, VulnerabilityAnalysis, VulnerabilitySource
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from collector.procfs.installed_packages import InstalledPackage
from foundation.text import count_of, printable
from lanner.inventory.loaded import PackageUse, Root, loader_text
from lanner.inventory.vulnerabilities import LoadingAnalysis, PackageVulnerability

MAX_FILES = 16
"""Files of a package that a component names."""
MAX_LOADERS = 16
_TYPES = {"dpkg": "deb", "apk": "apk", "rpm": "rpm"}
_NAMESPACES = {"dpkg": "debian", "apk": "alpine", "rpm": ""}


def purl_of(package: InstalledPackage, distribution: tuple[str, str]) -> PackageURL:
    """Return a package's URL: pkg:deb/debian/coreutils@9.1-1?arch=amd64&distro=debian-12.

    The qualifier upstream, which scanners use too, names the source package if its name or version differs.
    """
    name, version = distribution
    qualifiers = {"arch": package.arch, "distro": f"{name}-{version}" if name and version else name}
    own = package.version
    if package.manager == "rpm":
        epoch, colon, rest = own.partition(":")
        own, qualifiers["epoch"] = (rest, epoch) if colon else (own, "")
    if package.source and package.source != package.name:
        is_same = package.source_version in {"", package.version}
        qualifiers["upstream"] = package.source if is_same else f"{package.source}@{package.source_version}"
    return PackageURL(
        _TYPES[package.manager],
        name or _NAMESPACES[package.manager] or None,
        printable(package.name),
        printable(own) or None,
        {key: printable(value) for key, value in qualifiers.items() if value},
    )


def reference(root: Root, package: InstalledPackage) -> str:
    """Return the bom-ref of a package, which is unique among all roots."""
    return f"{root.name}{'@' if root.version else ''}{root.version}#{purl_of(package, root.distribution).to_string()}"


def bom_text(
    roots: Sequence[Root],
    hostname: str,
    now: datetime,
    findings: Sequence[tuple[PackageVulnerability, LoadingAnalysis]] = (),
) -> str:
    """Return a BOM as JSON, its parts in the order in which somebody would look at them.

    Args:
        roots: the host and images, of which loaded packages are listed.
        hostname: the host's name.
        now: when it was made.
        findings: vulnerabilities. Their packages are listed if they are not loaded, too.
    """
    host = Component(name=printable(hostname), type=ComponentType.DEVICE, bom_ref="host:device")
    bom = Bom()
    bom.metadata.component, bom.metadata.timestamp = host, now
    order: list[str] = []
    for root in roots:
        own = _root(root)
        others = dict.fromkeys(one.use for one, _ in findings if one.root is root and not one.use.is_loaded)
        packages = [_package(root, use) for use in (*root.uses, *others)]
        for component in (own, *packages):
            bom.components.add(component)
            order.append(str(component.bom_ref.value))
        bom.register_dependency(host, [own])
        bom.register_dependency(own, packages)
    for vulnerability in _vulnerabilities(findings):
        bom.vulnerabilities.add(vulnerability)
        order.append(str(vulnerability.bom_ref.value))
    found: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    # The library sorts them by name.
    places = {each: at for at, each in enumerate(order)}
    for kind in ("components", "vulnerabilities"):
        if kind in found:
            found[kind].sort(key=lambda each: places[each["bom-ref"]])
    return json.dumps(found, indent=2) + "\n"


def _vulnerabilities(findings: Sequence[tuple[PackageVulnerability, LoadingAnalysis]]) -> Iterator[Vulnerability]:
    """Yield the vulnerabilities, one for all packages of which the same can be stated."""
    targets: dict[tuple[str, str, LoadingAnalysis], list[BomTarget]] = defaultdict(list)
    for one, stated in findings:
        vulnerability = one.vulnerability
        target = BomTarget(ref=reference(one.root, one.use.package))
        targets[vulnerability.id, vulnerability.source, stated].append(target)
    for number, ((name, source, stated), affected) in enumerate(targets.items()):
        yield Vulnerability(
            bom_ref=f"vulnerability:{number}:{name}",
            id=name,
            source=VulnerabilitySource(url=XsUri(source)) if source else None,
            affects=affected,
            analysis=VulnerabilityAnalysis(
                state=ImpactAnalysisState.NOT_AFFECTED if stated.is_not_reachable else ImpactAnalysisState.IN_TRIAGE,
                justification=ImpactAnalysisJustification.CODE_NOT_REACHABLE if stated.is_not_reachable else None,
                detail=stated.detail,
            ),
        )


def _root(root: Root) -> Component:
    if root.is_host:
        name, version = root.distribution
        return Component(
            name=name or "linux", version=version or None, type=ComponentType.OPERATING_SYSTEM, bom_ref="host"
        )
    return Component(
        name=root.name,
        version=root.version or None,
        type=ComponentType.CONTAINER,
        bom_ref=f"image:{root.name}{'@' if root.version else ''}{root.version}",
        properties=[Property(name="lanner:container", value=name) for name in root.containers],
    )


def _package(root: Root, use: PackageUse) -> Component:
    return Component(
        name=printable(use.package.name),
        version=printable(use.package.version) or None,
        type=ComponentType.LIBRARY,
        purl=purl_of(use.package, root.distribution),
        bom_ref=reference(root, use.package),
        properties=[Property(name=f"lanner:{name}", value=value) for name, value in _properties(root, use)],
    )


def _properties(root: Root, use: PackageUse) -> Iterator[tuple[str, str]]:
    yield "root", root.name
    yield "loaded", _flag(value=use.is_loaded)
    yield "network_facing", _flag(value=use.is_network_facing)
    if use.is_replaced:
        yield "replaced_since_loaded", "true"
    for loader in use.loaders[:MAX_LOADERS]:
        yield "process", loader_text(loader)
    for file in use.files[:MAX_FILES]:
        yield "file", printable(file.path) + (" (deleted)" if file.is_deleted else "")
    left = len(use.loaders[MAX_LOADERS:]), len(use.files[MAX_FILES:])
    if any(left):
        yield "left_out", f"{count_of(left[0], 'process name')} and {count_of(left[1], 'file')}"


def _flag(*, value: bool) -> str:
    return "true" if value else "false"
