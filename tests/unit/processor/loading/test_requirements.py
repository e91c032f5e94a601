"""Items that require a version of the engine or of plugins."""

import pytest

from processor.loading import LoadResult, RuleFile, load_rules


def load(text: str) -> LoadResult:
    """Load one item."""
    return load_rules([RuleFile("rules.yaml", f"- {text}\n")])


@pytest.mark.parametrize("version", ["0", "26", "'26'", "0x1a", "032", "0.26.0", "0.63.0", "0.26.0-rc1"])
def test_a_version_of_the_engine_that_is_met(version: str) -> None:
    """A number stands for the middle one of three."""
    result = load(f"required_engine_version: {version}")

    assert (result.errors, result.warnings) == ((), ())


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("required_engine_version: 0.26", "Unable to parse engine version '0.26' as a semver string"),
        ("required_engine_version: -1", "Unable to parse engine version '-1'"),
        ("required_engine_version: v0.26.0", "Unable to parse engine version 'v0.26.0'"),
        ("required_engine_version: [1]", "Value is not a scalar value"),
        ("required_engine_version: ''", "Value must be non-empty"),
        ("required_engine_version: 64", "Rules require engine version 0.64.0, but engine version is 0.63.0"),
        ("required_engine_version: 1.0.0", "Rules require engine version 1.0.0, but engine version is 0.63.0"),
        ("required_plugin_versions: x", "Value of required_plugin_versions must be a sequence"),
        ("required_plugin_versions: [x]", "Plugin version must be a mapping"),
        ("required_plugin_versions: [{name: a}]", "Item has no mapping for key 'version'"),
        ("required_plugin_versions: [{name: a, version: 1}]", "Invalid required version '1' for plugin 'a'"),
        (
            "required_plugin_versions: [{name: a, version: 0.1.0, alternatives: x}]",
            "Value of plugin version alternatives must be a sequence",
        ),
        (
            "required_plugin_versions: [{name: a, version: 0.1.0, alternatives: [x]}]",
            "Plugin version alternative must be a mapping",
        ),
        (
            "required_plugin_versions: [{name: a, version: 0.1.0, alternatives: [{name: a, version: 0.4.0}]}]",
            "Defined multiple alternative version requirements for plugin 'a'",
        ),
    ],
)
def test_a_requirement_that_is_not_met_or_malformed(item: str, message: str) -> None:
    """Each gives one error."""
    (error,) = load(item).errors

    assert message in error.message


def test_plugins_with_alternatives() -> None:
    """Any of the alternatives meets a requirement; each item adds requirements."""
    first = "required_plugin_versions: [{name: a, version: 0.1.0, alternatives: [{name: b, version: 0.4.0}]}]"
    result = load(f"{first}\n- required_plugin_versions: [{{name: a, version: 0.2.0}}]")

    found = [[(plugin.name, plugin.version) for plugin in each] for each in result.required_plugins]
    assert found == [[("a", "0.1.0"), ("b", "0.4.0")], [("a", "0.2.0")]]


@pytest.mark.parametrize(
    "item", ["required_engine_version: 26\n  x: 1", "required_plugin_versions: [{name: a, version: 0.1.0}]\n  x: 1"]
)
def test_a_key_beside_a_requirement_is_unknown(item: str) -> None:
    """It may be the key of another item whose dash is missing."""
    (warning,) = load(item).warnings

    assert (warning.code.name, warning.message) == ("LOAD_UNKNOWN_KEY", "Unknown key 'x'. The key will be ignored.")
