"""The sources of JSON that rules can name: those whose mappings are shipped, and those that settings add."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from foundation.text import did_you_mean
from foundation.yaml.nodes import SourceFile
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.settings.faults import BadSettings, SettingFault
from lanner.settings.sections.fleet import JsonSourceSetting
from lanner.sources.reading import SourceMapping, read_mapping
from processor.fields.json.documents import KUBERNETES, PLAIN_JSON, JsonSource
from schemas.catalog.fields import JSON, K8S_AUDIT, MAPPED, SOURCES, SYSCALL
from schemas.catalog.fields import define_sources as define_in_catalogue

_SHIPPED = Path(__file__).parent / "shipped"
_BUILT_IN = {K8S_AUDIT: KUBERNETES, JSON: PLAIN_JSON}


def define_sources(settings: Settings) -> None:
    """Make the sources and fields of configured mapping files known to rules. Raises BadInput with all errors."""
    mappings = {index: _read(each, index) for each, index in _configured(settings) if each.mapping is not None}
    specs = [spec for mapping in mappings.values() for spec in mapping.specs]
    define_in_catalogue({mapping.name: mapping.file for mapping in mappings.values()}, specs)
    faults = []
    for each, index in _configured(settings):
        setting = f"json_sources[{index}].source"
        if index in mappings and each.source not in (None, mappings[index].name):
            text = f"{setting}: {each.mapping} defines {mappings[index].name}, not {each.source}."
            faults.append(SettingFault(setting, text))
        elif index not in mappings and each.source not in SOURCES:
            faults.append(SettingFault(setting, f"{setting}: {_unknown(each.source or '')}"))
    if faults:
        raise BadSettings(*faults)


def source_named(settings: Settings, name: str) -> JsonSource:
    """Return a source of JSON. Raises BadInput if there is none of this name."""
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    mappings = (_read(each, index) for each, index in _configured(settings) if each.mapping is not None)
    own = next((mapping for mapping in mappings if mapping.name == name), None)
    shipped = shipped_mapping(name) if name in MAPPED else None
    if own is not None:
        return (own if shipped is None else own.over(shipped)).source()
    if shipped is None:
        raise BadInput(_unknown(name))
    return shipped.source()


def topics_of(settings: Settings) -> Mapping[str, JsonSource]:
    """Return the source of each configured topic. Raises BadInput if a topic has several."""
    found: dict[str, JsonSource] = {}
    for each, index in _configured(settings):
        if each.topic is None:
            continue
        if each.topic in found:
            setting = f"json_sources[{index}].topic"
            raise BadSettings(SettingFault(setting, f"{setting}: {each.topic} is listed twice."))
        found[each.topic] = source_named(settings, each.source or _read(each, index).name)
    return found


def built_in_source(name: str) -> JsonSource:
    """Return a source of JSON that needs no settings. Raises BadInput if there is none of this name."""
    return source_named(Settings(), name)


@cache
def shipped_mapping(name: str) -> SourceMapping:
    """Return a shipped mapping. name: one of MAPPED."""
    file = _SHIPPED / f"{name}.yaml"
    return read_mapping(SourceFile(str(file), file.read_text(encoding="utf-8")))


def _configured(settings: Settings) -> Iterator[tuple[JsonSourceSetting, int]]:
    return ((each, index) for index, each in enumerate(settings.json_sources))


def _read(configured: JsonSourceSetting, index: int) -> SourceMapping:
    path = configured.mapping or ""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        setting = f"json_sources[{index}].mapping"
        raise BadSettings(SettingFault(setting, f"{setting}: {path}: {error.strerror}.")) from None
    return read_mapping(SourceFile(path, text))


def _unknown(name: str) -> str:
    known = [each for each in SOURCES if each != SYSCALL]
    hint = did_you_mean(name, known) or f"known are {', '.join(known)}; json_sources adds others."
    return f"unknown source {name!r}; {hint}"
