"""The Helm chart: what it renders is valid for each supported version of Kubernetes, and has no right too many."""

import json
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from lanner.settings import load_settings
from tests.deploy.helm.program import NoHelm, helm
from tests.deploy.helm.schemas import VERSIONS, Object, faults, objects, pods
from tests.live.needs import lacking

CHART = Path("deploy/helm/lanner")
CASES = {path.stem: path for path in sorted(Path("tests/deploy/helm/values").glob("*.yaml"))}
SCALING = {"production": "HorizontalPodAutoscaler", "keda": "ScaledObject"}
"""Which values files scale processors, and by what."""

pytestmark = pytest.mark.timeout(900)


@cache
def program() -> Path:
    """Return Helm, compiled unless cached."""
    try:
        return helm()
    except NoHelm as missing:
        lacking(str(missing))


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm."""
    return subprocess.run([program(), *arguments], capture_output=True, text=True, timeout=60, check=False)


@cache
def template(case: str, version: str = VERSIONS[-1], *options: str) -> list[Object]:
    """Render the chart with the values of a case."""
    made = run(
        "template", "fleet", CHART, "--kube-version", version, "--namespace", "security", "-f", CASES[case], *options
    )
    assert made.returncode == 0, made.stderr
    return objects(made.stdout)


def of_kind(kind: str, every: list[Object]) -> dict[str, Object]:
    """Return the objects of a kind by name."""
    return {each["metadata"]["name"]: each for each in every if each["kind"] == kind}


@pytest.mark.parametrize("case", CASES)
def test_lint_finds_nothing(case: str) -> None:
    """No error and no warning, with each of the values files."""
    done = run("lint", "--strict", CHART, "-f", CASES[case])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_every_object_is_valid(case: str, version: str) -> None:
    """Each version of the API knows every field, and each required one is there."""
    every = template(case, version)
    assert len(every) >= 4
    assert [fault for each in every for fault in faults(version, each)] == []


@pytest.mark.parametrize("case", CASES)
def test_pods_refer_to_what_is_there(case: str) -> None:
    """Mounts name volumes, volumes the chart's own objects, pods a service account, selectors the pods' labels."""
    every = template(case)
    maps, accounts, claims = (of_kind(kind, every) for kind in ("ConfigMap", "ServiceAccount", "PersistentVolumeClaim"))
    for each in every:
        selector = each["spec"].get("selector") if "template" in each.get("spec", {}) else None
        if selector:
            assert selector["matchLabels"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
    for name, pod in pods(every):
        spec = pod["spec"]
        assert spec["serviceAccountName"] in accounts, name
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        assert len(volumes) == len(spec["volumes"]), name
        used = [mount for container in spec["containers"] for mount in container["volumeMounts"]]
        assert {mount["name"] for mount in used} == volumes.keys(), name
        assert len({mount["mountPath"] for mount in used}) == len(used), name
        for volume in volumes.values():
            if (own := volume.get("configMap", {}).get("name")) != "lanner-programs":
                assert own is None or own in maps
            assert volume.get("persistentVolumeClaim", {}).get("claimName") in (None, *claims)


@pytest.mark.parametrize("case", CASES)
def test_no_pod_has_more_rights_than_it_needs(case: str) -> None:
    """Only collectors are root and have three capabilities; only the Kubernetes service talks to the API."""
    every = template(case)
    for name, pod in pods(every):
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        spec = pod["spec"]
        [container] = spec["containers"]
        security = {**spec["securityContext"], **container["securityContext"]}
        is_collector = component == "collector"
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"]["drop"] == ["ALL"]
        added = ["SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH"] if is_collector else None
        assert security["capabilities"].get("add") == added
        assert security.get("readOnlyRootFilesystem", component == "kafka"), name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert security.get("runAsNonRoot", False) is not is_collector
        assert spec.get("hostPID", False) is is_collector
        assert not spec.keys() & {"hostNetwork", "hostIPC"}
        assert spec["automountServiceAccountToken"] is (component == "kubernetes")
        assert any("hostPath" in volume for volume in spec["volumes"]) is is_collector


@pytest.mark.parametrize("case", CASES)
def test_collectors_can_write_to_one_folder_of_the_host(case: str) -> None:
    """Everything else of the host is mounted read-only, and nothing that contains more than a runtime's folder."""
    [collector] = of_kind("DaemonSet", template(case)).values()
    spec = collector["spec"]["template"]["spec"]
    host = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}
    mounts = {mount["name"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert [host[name] for name in host if not mounts[name].get("readOnly")] == ["/var/lib/lanner"]
    assert not set(host.values()) & {"/", "/run", "/var", "/var/lib", "/var/run", "/etc", "/proc", "/sys"}


@pytest.mark.parametrize("case", sorted(set(CASES) - {"trial"}))
def test_secrets_are_only_referred_to(case: str) -> None:
    """The chart contains none, apart from the generated passwords of a trial."""
    assert of_kind("Secret", template(case)) == {}


def test_a_trials_passwords_differ() -> None:
    """Each user of the trial's broker has a password of its own, which the broker knows."""
    secrets = of_kind("Secret", template("trial"))
    users = secrets.pop("fleet-lanner-kafka-broker")["stringData"]["users.properties"]
    passwords = {secret["stringData"]["password"] for secret in secrets.values()}
    assert len(passwords) == len(secrets) == 6
    assert all(f'"{password}"' in users for password in passwords)


@pytest.mark.parametrize("case", CASES)
def test_lanner_accepts_the_settings(case: str, tmp_path: Path) -> None:
    """The settings of the ConfigMap have no unknown name and no wrong value."""
    [settings] = (each for name, each in of_kind("ConfigMap", template(case)).items() if name.endswith("-settings"))
    file = tmp_path / "lanner.yaml"
    file.write_text(settings["data"]["lanner.yaml"])
    loaded = load_settings(file, (), {})
    assert loaded.kafka.bootstrap_servers
    assert loaded.log_format == "json"


@pytest.mark.parametrize(("case", "kind"), SCALING.items())
def test_processors_scale_on_lag(case: str, kind: str) -> None:
    """What scales the Deployment also decides on the number of its pods, so the chart sets none."""
    every = template(case)
    [scaler] = of_kind(kind, every).values()
    processor = of_kind("Deployment", every)[scaler["spec"]["scaleTargetRef"]["name"]]
    assert "replicas" not in processor["spec"]


def test_each_enabled_sink_has_a_deployment() -> None:
    """Named after the sink, with its Secrets as variables or files."""
    every = of_kind("Deployment", template("production"))
    notifiers = {name: each["spec"]["template"]["spec"] for name, each in every.items() if "-notifier-" in name}
    assert {spec["containers"][0]["args"][1] for spec in notifiers.values()} == {
        "slack",
        "syslog",
        "on_call",
        "siem.ecs",
    }
    slack = notifiers["fleet-lanner-notifier-slack"]["containers"][0]
    reference = {"secretKeyRef": {"name": "lanner-slack", "key": "token"}}
    assert {"name": "LANNER_SLACK_TOKEN", "valueFrom": reference} in slack["env"]


def test_the_console_is_one_pod_with_its_secrets() -> None:
    """Its tokens are those of a Secret, its Service names its port, and only chosen peers reach it."""
    every = template("production")
    deployment = of_kind("Deployment", every)["fleet-lanner-console"]["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    container = deployment["template"]["spec"]["containers"][0]
    assert {"name": "LANNER__CONSOLE__TOKENS_FILE", "value": "/run/lanner/console/tokens"} in container["env"]
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    owners = {name for name, pod in pods(every) if "lanner-console-tokens" in json.dumps(pod)}
    assert owners == {"fleet-lanner-console"}
    [port] = of_kind("Service", every)["fleet-lanner-console"]["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (8778, "http")
    policy = of_kind("NetworkPolicy", every)["fleet-lanner-console"]["spec"]
    assert "ingress" in json.dumps(policy["ingress"][0]["from"])
    assert {"ports": [{"port": 443}]} not in policy["egress"]
    job = next(each for name, each in of_kind("Job", every).items() if "-topics-" in name)
    assert "--for dead-letters --principal 'User:lanner-console'" in json.dumps(job)


def test_a_console_with_oidc_reaches_its_provider() -> None:
    """It needs no Secret of tokens."""
    every = template("keda")
    policy = of_kind("NetworkPolicy", every)["fleet-lanner-console"]["spec"]
    assert {"ports": [{"port": 443}]} in policy["egress"]
    [container] = of_kind("Deployment", every)["fleet-lanner-console"]["spec"]["template"]["spec"]["containers"]
    assert "LANNER__CONSOLE__TOKENS_FILE" not in json.dumps(container["env"])


def test_an_archive_in_a_bucket_has_its_secret_and_reaches_its_store() -> None:
    """Several share the work; its user has the rights of its part."""
    every = template("production")
    deployment = of_kind("Deployment", every)["fleet-lanner-archive"]["spec"]
    assert deployment["replicas"] == 2
    [container] = deployment["template"]["spec"]["containers"]
    reference = {"secretKeyRef": {"name": "lanner-bucket", "key": "key"}}
    assert {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": reference} in container["env"]
    assert {"ports": [{"port": 9000}]} in of_kind("NetworkPolicy", every)["fleet-lanner-archive"]["spec"]["egress"]
    job = next(each for name, each in of_kind("Job", every).items() if "-topics-" in name)
    assert "--for archive --principal 'User:lanner-archive'" in json.dumps(job)


def test_a_trial_with_an_archive_has_a_volume_for_it() -> None:
    """Neither two pods on one volume nor an archive that a pod takes with it is accepted."""
    every = template("trial", VERSIONS[-1], "--set", "archive.enabled=true", "--set", "archive.storage=5Gi")
    assert "fleet-lanner-archive" in of_kind("PersistentVolumeClaim", every)
    assert "fleet-lanner-kafka-archive" in of_kind("Secret", every)
    arguments = ("--kube-version", VERSIONS[0], "-f", CASES["trial"], "--set", "archive.enabled=true")
    assert "archive.storage is required" in run("template", "x", CHART, *arguments).stderr
    several = run("template", "x", CHART, *arguments, "--set", "archive.storage=5Gi", "--set", "archive.replicas=2")
    assert "archive.replicas" in several.stderr


def test_a_trial_with_a_console_has_a_user_for_it() -> None:
    """The trial's broker knows its password."""
    options = ("--set", "console.enabled=true", "--set", "console.tokensSecret=tokens")
    secrets = of_kind("Secret", template("trial", VERSIONS[-1], *options))
    users = secrets["fleet-lanner-kafka-broker"]["stringData"]["users.properties"]
    password = secrets["fleet-lanner-kafka-console"]["stringData"]["password"]
    assert f'user_lanner-console="{password}"' in users


def test_a_console_to_which_nobody_could_sign_in_is_refused() -> None:
    """The error names the value."""
    arguments = ("--kube-version", VERSIONS[0], "-f", CASES["own_kafka"], "--set", "console.enabled=true")
    assert "console.tokensSecret is required" in run("template", "x", CHART, *arguments).stderr


def test_the_intake_of_audit_events_has_its_secrets_and_a_fixed_address() -> None:
    """Only chosen peers reach the webhook, and its user has the rights of its part."""
    every = template("production")
    container = of_kind("Deployment", every)["fleet-lanner-audit"]["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["intake", "kubernetes-audit"]
    assert {"name": "LANNER__KUBERNETES_AUDIT__TOKEN_FILE", "value": "/run/lanner/audit/token"} in container["env"]
    owners = {name for name, pod in pods(every) if "lanner-audit-t" in json.dumps(pod)}
    assert owners == {"fleet-lanner-audit"}
    service = of_kind("Service", every)["fleet-lanner-audit"]["spec"]
    assert (service["clusterIP"], service["ports"][0]["port"]) == ("10.96.0.50", 8765)
    policy = of_kind("NetworkPolicy", every)["fleet-lanner-audit"]["spec"]
    assert {"ports": [{"port": "webhook"}], "from": [{"ipBlock": {"cidr": "192.0.2.0/28"}}]} in policy["ingress"]
    job = next(each for name, each in of_kind("Job", every).items() if "-topics-" in name)
    assert "--for kubernetes-audit --principal 'User:lanner-audit'" in json.dumps(job)


def test_an_intake_that_reads_an_event_hub_reaches_it() -> None:
    """Its password is a variable from a Secret; client certificates are checked instead of a token."""
    every = template("keda")
    policy = of_kind("NetworkPolicy", every)["fleet-lanner-audit"]["spec"]
    assert {"ports": [{"port": 9095}]} in policy["egress"]
    [container] = of_kind("Deployment", every)["fleet-lanner-audit"]["spec"]["template"]["spec"]["containers"]
    variables = json.dumps(container["env"])
    assert "CLIENT_CA_FILE" in variables
    assert "LANNER_KUBERNETES_AUDIT_TOPIC_PASSWORD" in variables
    assert "TOKEN_FILE" not in variables


@pytest.mark.parametrize("missing", ["tlsSecret", "tokenSecret"])
def test_an_intake_that_anyone_could_write_to_is_refused(missing: str) -> None:
    """Whoever can send audit events can raise alerts, and hide their own among them."""
    secrets = [f"audit.{name}=x" for name in ("tlsSecret", "tokenSecret") if name != missing]
    options = [option for each in ("audit.enabled=true", *secrets) for option in ("--set", each)]
    done = run("template", "x", CHART, "--kube-version", VERSIONS[0], "-f", CASES["own_kafka"], *options)
    assert "audit.tlsSecret is required" in done.stderr


def test_a_trial_with_an_intake_has_a_user_for_it() -> None:
    """The trial's broker knows its password."""
    options = [f"audit.{each}" for each in ("enabled=true", "tlsSecret=x", "tokenSecret=x")]
    secrets = of_kind("Secret", template("trial", VERSIONS[-1], *(f"--set={each}" for each in options)))
    users = secrets["fleet-lanner-kafka-broker"]["stringData"]["users.properties"]
    password = secrets["fleet-lanner-kafka-audit"]["stringData"]["password"]
    assert f'user_lanner-audit="{password}"' in users


def test_rules_are_published_signed_and_verified() -> None:
    """A hook signs with the private key, which no other pod has; processors have the public one."""
    every = template("production")
    job = of_kind("Job", every)["fleet-lanner-publish-rules"]
    assert job["metadata"]["annotations"]["helm.sh/hook"].startswith("post-install")
    assert "--sign-key" in json.dumps(job)
    owners = {name for name, pod in pods(every) if "lanner-rules-key" in json.dumps(pod)}
    assert owners == {"fleet-lanner-publish-rules"}
    verifying = {name for name, pod in pods(every) if "lanner-rules-public-key" in json.dumps(pod)}
    assert verifying == {"fleet-lanner-processor"}


def test_topics_are_created_again_when_they_change() -> None:
    """A Job can't be changed, so its name depends on its content, and only on that."""
    names = [
        next(name for name in of_kind("Job", template("production", VERSIONS[0], *options)) if "-topics-" in name)
        for options in ((), ("--set", "processor.replicas=3"), ("--set", "kafka.topics.eventsRetention=48h"))
    ]
    assert names[0] == names[1] != names[2]


def test_only_the_kubernetes_service_has_rights_at_the_api() -> None:
    """It may list and watch, and write nothing but Leases of its namespace."""
    every = template("keda")
    roles = [*of_kind("ClusterRole", every).values(), *of_kind("Role", every).values()]
    verbs = {
        verb for role in roles for rule in role["rules"] for verb in rule["verbs"] if rule["resources"] != ["leases"]
    }
    assert verbs == {"list", "watch"}
    bindings = [*of_kind("ClusterRoleBinding", every).values(), *of_kind("RoleBinding", every).values()]
    assert {subject["name"] for each in bindings for subject in each["subjects"]} == {"fleet-lanner-kubernetes"}
    assert not of_kind("ClusterRole", template("production"))


@pytest.mark.parametrize(
    ("enabled", "granted"),
    [
        ("{cordon}", {("nodes", "get"), ("nodes", "list"), ("nodes", "patch")}),
        ("{evict}", {("pods", "get"), ("pods/eviction", "create")}),
        ("{label}", {("pods", "get"), ("pods", "patch")}),
    ],
)
def test_actions_add_the_rights_that_they_need(enabled: str, granted: set[tuple[str, str]]) -> None:
    """Each type its own."""
    options = ("--set", f"kubernetes.actions.enabled={enabled}", "--set", "kubernetes.actions.secret=keys")
    (role,) = of_kind("ClusterRole", template("keda", VERSIONS[-1], *options)).values()
    rights = {(what, verb) for rule in role["rules"] for what in rule["resources"] for verb in rule["verbs"]}
    assert {each for each in rights if each[1] not in ("list", "watch") or each[0] == "nodes"} == granted


@pytest.mark.parametrize(
    "wrong",
    [
        "procesor.replicas=2",
        "collector.runtimes={containrd}",
        "kafka.securityProtocol=tls",
        "settings.kafka.bootstrap_servers=kafka:9092",
        "notifiers.slack.url=https://hooks.slack.com",
        "processor.autoscaling.type=vpa",
        "rules.files.readme=text",
    ],
)
def test_wrong_values_are_refused(wrong: str) -> None:
    """A misspelled name never passes silently."""
    done = run("template", "x", CHART, "--kube-version", VERSIONS[0], "-f", CASES["own_kafka"], "--set", wrong)
    assert done.returncode != 0
    assert "schema" in done.stderr


def test_a_broker_is_required() -> None:
    """Without one, the error names the value."""
    done = run("template", "x", CHART, "--kube-version", VERSIONS[0])
    assert "kafka.bootstrapServers is required" in done.stderr


def test_pods_are_scheduled_where_their_images_run() -> None:
    """On x86-64 unless the images are for more; a Job runs such an image as well."""
    for images, wanted in (("amd64", "amd64"), ("arm64", "arm64"), ("amd64,arm64", None)):
        rendered = template("own_kafka", VERSIONS[-1], "--set", f"image.architectures={{{images}}}")
        nodes = {name: pod["spec"].get("nodeSelector", {}) for name, pod in pods(rendered)}
        assert {each.get("kubernetes.io/arch") for each in nodes.values()} == {wanted}
        assert nodes["fleet-lanner-collector"]["kubernetes.io/os"] == "linux"


def test_the_schema_describes_every_value() -> None:
    """Values and schema have the same names."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(_described(schema, values, schema["$defs"])) == set()


def _described(schema: Mapping[str, Any], value: object, shared: Mapping[str, Any], path: str = "") -> list[str]:
    """Return the paths of what only one of both has."""
    schema = shared[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if schema.get("additionalProperties") is not False or not isinstance(value, dict):
        return []
    known = {**schema["properties"]}
    known.pop("global", None)
    if path.endswith("resources"):
        known.pop("claims")
    different = [f"{path}.{name}" for name in known.keys() ^ value.keys()]
    return different + [
        each
        for name in known.keys() & value.keys()
        for each in _described(known[name], value[name], shared, f"{path}.{name}")
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec.update(hostPid=True), "hostPid"),
        (lambda spec: spec["containers"][0].pop("name"), "'name' is a required property"),
        (lambda spec: spec.update(terminationGracePeriodSeconds="30"), "not of type 'integer'"),
    ],
)
def test_the_validation_finds_mistakes(change: Callable[[Object], object], message: str) -> None:
    """A misspelled field, a missing one and one of the wrong type."""
    [collector] = of_kind("DaemonSet", objects(yaml.dump_all(template("trial")))).values()
    change(collector["spec"]["template"]["spec"])
    for version in VERSIONS:
        [fault] = faults(version, collector)
        assert message in fault
