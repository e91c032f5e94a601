"""Every setting that Falco and falcosidekick have, by the lists of their names beside this module."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from lanner.importing.draft import Draft
from lanner.importing.falco import import_falco
from lanner.importing.falcosidekick import from_variables, import_falcosidekick
from lanner.settings.build import build_settings
from lanner.settings.load import parse_yaml

FOLDER = Path(__file__).parent
VALUES: Mapping[str, object] = {"text": "x", "flag": True, "number": 7, "list": ["http://x:1"], "map": {"a": "b"}}
FALCO: Mapping[str, object] = {
    "append_output": [{"extra_output": "%evt.type"}],
    "base_syscalls.custom_set": ["open"],
    "config_files": ["/x"],
    "container_engines.cri.sockets": ["/run/containerd/containerd.sock"],
    "load_plugins": ["json"],
    "plugins": [{"name": "json"}, {"name": "container", "init_config": {"with_size": True}}],
    "priority": "debug",
    "log_level": "info",
    "rule_matching": "first",
    "rule_files": ["/x.yaml"],
    "rules_files": ["/x.yaml"],
    "rules": [{"disable": {"rule": "*"}}],
    "static_fields": {"Team": "blue"},
    "webserver.listen_port": 8765,
    "webserver.listen_address": "127.0.0.1",
}
"""Values of settings that are no flags."""


def names_in(file: str) -> Iterator[tuple[str, str]]:
    """Yield the names in a list, each with the kind of its value, if the list has kinds."""
    for line in (FOLDER / file).read_text().splitlines():
        section, *keys = line.split()
        for key in keys or [""]:
            name, _, kind = key.partition(":")
            yield f"{section}.{name}".removesuffix("."), kind


def nested(values: Mapping[str, object]) -> str:
    """Return settings as YAML, from values by dotted path."""
    made: dict[str, object] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        below = made
        for section in sections:
            below = below.setdefault(section, {})  # type: ignore[assignment]
        below[last] = value
    return yaml.safe_dump(made)


def noted(draft: Draft) -> set[str]:
    """Return the names that have a note, which is more than that there is no equivalent."""
    assert not [note for note in draft.notes if "has no equivalent" in note]
    return {name for note in draft.notes for name in note.split(": ")[1].split(", ")}


def unaccounted(draft: Draft, names: Mapping[str, object]) -> list[str]:
    """Return the names that are neither carried over nor in a note."""
    # In the name of a variable, all parts are separated alike.
    known = {each.replace(".", "_") for each in draft.carried | noted(draft)}
    found = {name: name.replace(".", "_") for name in names}
    return [name for name, key in found.items() if not any(each == key or each.startswith(f"{key}_") for each in known)]


@pytest.mark.parametrize("is_on", [True, False])
def test_every_setting_of_falco_is_carried_or_has_a_reason(is_on: bool) -> None:
    """Whether the section that has it is on or off."""
    values = {name: FALCO.get(name, is_on) for name, _ in names_in("falco_keys.txt")}
    draft = import_falco(parse_yaml(nested(values), "falco.yaml"))
    assert unaccounted(draft, values) == []
    assert build_settings(parse_yaml(draft.text(), "lanner.yaml"))[1] == []


def test_every_setting_of_falcosidekick_is_carried_or_has_a_reason() -> None:
    """With every output enabled."""
    values = {name: VALUES[kind] for name, kind in names_in("falcosidekick_keys.txt")}
    draft = import_falcosidekick(parse_yaml(nested(values), "side.yaml"))
    assert unaccounted(draft, values) == []
    assert build_settings(parse_yaml(draft.text(), "lanner.yaml"))[1] == []


@pytest.mark.parametrize(("name", "kind"), list(names_in("falcosidekick_keys.txt")))
def test_a_setting_alone_is_carried_or_has_a_reason(name: str, kind: str) -> None:
    """Without the setting that enables its output, too."""
    draft = import_falcosidekick(parse_yaml(nested({name: VALUES[kind]}), "side.yaml"))
    assert unaccounted(draft, {name: ""}) == []


def test_every_variable_of_falcosidekick_is_carried_or_has_a_reason() -> None:
    """A variable is named like the setting, in capitals."""
    names = {name: kind for name, kind in names_in("falcosidekick_keys.txt") if kind != "map"}
    lines = [f"{name.upper().replace('.', '_')}={VALUES[kind]}" for name, kind in names.items() if kind != "list"]
    tree = from_variables("\n".join([*lines, "CUSTOMFIELDS=Team:blue,b:c"]), "side.env")
    assert tree is not None
    draft = import_falcosidekick(tree)
    assert unaccounted(draft, {name: "" for name, kind in names.items() if kind != "list"}) == []
    assert {"extra_fields": [{"Team": "blue"}, {"b": "c"}]} in yaml.safe_load(draft.text())["append_output"]
