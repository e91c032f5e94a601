"""Validates Kubernetes objects against the API's own OpenAPI, with unknown fields refused."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft4Validator

from tests.deploy.helm.modules import module_file

VERSIONS = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35")
_KEDA = ("github.com/kedacore/keda/v2", "v2.16.1", "config/crd/bases/keda.sh_{}s.yaml")
_PROMETHEUS = (
    "github.com/prometheus-operator/prometheus-operator",
    "v0.80.0",
    "example/prometheus-operator-crd/monitoring.coreos.com_{}s.yaml",
)
_CUSTOM = {
    "ScaledObject": _KEDA,
    "TriggerAuthentication": _KEDA,
    "PodMonitor": _PROMETHEUS,
    "ServiceMonitor": _PROMETHEUS,
}
_KIND = "x-kubernetes-group-version-kind"

Object = dict[str, Any]


def objects(text: str) -> list[Object]:
    """Parse a stream of YAML documents; a key that occurs twice is an error, as it is for the API server."""
    return [each for each in yaml.load_all(text, Loader=_Strict) if each]


def faults(version: str, found: Object) -> list[str]:
    """Return what a version of Kubernetes doesn't accept in an object."""
    validator = _custom(found["kind"]) if found["kind"] in _CUSTOM else _built_in(version, _kind(found))
    name = f"{found['kind']} {found['metadata']['name']}"
    return [f"{name}: {_path(error)}: {error.message}" for error in validator.iter_errors(found)]


class _Strict(yaml.SafeLoader):
    """Refuses keys that occur twice in a mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.YAMLError(f"{node.start_mark}: twice: {twice}")
        return super().construct_mapping(node, deep)


def _path(error: Any) -> str:
    return ".".join(str(each) for each in error.absolute_path)


def _kind(found: Object) -> tuple[str, str, str]:
    group, _, version = found["apiVersion"].rpartition("/")
    return group, version, found["kind"]


@cache
def _built_in(version: str, kind: tuple[str, str, str]) -> Draft4Validator:
    definitions, names = _api(version)
    assert kind in names, f"Kubernetes {version} has no {kind}"
    return Draft4Validator({"$ref": f"#/definitions/{names[kind]}", "definitions": definitions})


@cache
def _api(version: str) -> tuple[Object, Mapping[tuple[str, str, str], str]]:
    text = module_file("k8s.io/kubernetes", f"v{version}.0", "api/openapi-spec/swagger.json")
    definitions = {name: _strict(each) for name, each in json.loads(text)["definitions"].items()}
    names = {
        (kind["group"], kind["version"], kind["kind"]): name
        for name, each in definitions.items()
        for kind in each.get(_KIND, ())
    }
    # The OpenAPI calls both strings, but the API takes numbers too.
    for name in ("util.intstr.IntOrString", "api.resource.Quantity"):
        definitions[f"io.k8s.apimachinery.pkg.{name}"] = {"type": ["string", "number"]}
    return definitions, names


@cache
def _custom(kind: str) -> Draft4Validator:
    module, version, path = _CUSTOM[kind]
    definition = yaml.load(module_file(module, version, path.format(kind.lower())), Loader=yaml.CSafeLoader)
    schema = _strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return Draft4Validator(schema)


def _strict(schema: Any) -> Any:
    """Return a schema that refuses properties that it doesn't name."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    is_schema = made.get("type") == "object" and isinstance(made.get("properties"), dict)
    if is_schema and "x-kubernetes-preserve-unknown-fields" not in made:
        made.setdefault("additionalProperties", False)
    return made


def pods(every: list[Object]) -> Iterator[tuple[str, Object]]:
    """Yield name and template of everything that makes pods."""
    for each in every:
        if "template" in each.get("spec", {}):
            yield each["metadata"]["name"], each["spec"]["template"]
