import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bus.connection import Connection
from bus.messages import Headers
from bus.published_rules import rules_message
from lanner.settings import Settings
from lanner.settings.sections.fleet import JsonSourceSetting, PublishedRulesSettings
from lanner.sources.installed import define_sources, topics_of
from lanner.wiring.stages.processor import Preparation, rules_at_start
from processor.evaluator import Evaluator
from processor.fleet.rules.actions import RulesRefused
from schemas.published_rules import PublishedFile, PublishedRules
from tests.unit.processor.batches import batch_of

RULES = """
- {rule: Read, desc: d, condition: evt.type = openat, output: o, priority: NOTICE}
- {rule: Look, desc: d, condition: ka.verb = get, output: o, priority: NOTICE, source: k8s_audit}
"""


def test_rules_of_both_sources_are_evaluated(tmp_path: Path) -> None:
    """Each stage has those of its source."""
    path = tmp_path / "r.yaml"
    path.write_text(RULES)
    settings = Settings()
    settings = replace(
        settings, rules_files=(str(path),), published_rules=replace(settings.published_rules, enabled=False)
    )

    in_use, _ = rules_at_start(settings, Connection("127.0.0.1:1"), Preparation(settings), quiet=True)

    assert in_use.ruleset.names_of("syscall") == ("Read",)
    assert in_use.ruleset.names_of("k8s_audit") == ("Look",)
    assert in_use.description == f"2 rules from {path}"


def test_rules_on_sources_that_settings_define_are_evaluated(tmp_path: Path) -> None:
    """The source is known before the rules are loaded, and its topic before the processor starts."""
    rules, mapping = tmp_path / "r.yaml", tmp_path / "m.yaml"
    rules.write_text("- {rule: Sale, desc: d, condition: shop.sum > 9, output: o, priority: NOTICE, source: shop}\n")
    mapping.write_text("source: shop\nfields: {shop.sum: {at: /sum, type: integer}}\n")
    settings = Settings(json_sources=(JsonSourceSetting("shop", str(mapping), "shop-events"),))
    settings = replace(
        settings, rules_files=(str(rules),), published_rules=replace(settings.published_rules, enabled=False)
    )

    in_use, _ = rules_at_start(settings, Connection("127.0.0.1:1"), Preparation(settings), quiet=True)
    define_sources(Settings())

    assert in_use.ruleset.sources == {"shop"}
    assert [(topic, source.name) for topic, source in topics_of(settings).items()] == [("shop-events", "shop")]


@pytest.mark.parametrize(
    ("has_key", "is_signed", "is_allowed", "refusal"),
    [
        (True, True, False, ""),
        (True, False, False, "it is not signed"),
        (False, True, False, "r.py: Python rule files are run only if the version is signed"),
        (False, False, True, ""),
    ],
)
def test_published_python_is_run_only_if_a_key_of_this_processor_signed_it(
    tmp_path: Path, *, has_key: bool, is_signed: bool, is_allowed: bool, refusal: str
) -> None:
    """Without keys, a setting has to allow it; a refused version starts no process."""
    key = Ed25519PrivateKey.generate()
    public = tmp_path / "rules.pub"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    published = PublishedRulesSettings(
        public_key_files=(str(public),) if has_key else (), state_dir=str(tmp_path), unsigned_python=is_allowed
    )
    code = (
        "from lanner.detections import detect\n"
        "@detect(rule='P', desc='d', condition='evt.type = openat', output='o', priority='Notice')\n"
        "def p(event):\n    return 'found'\n"
    )
    rules = PublishedRules(files=(PublishedFile("r.py", code.encode()),)).named(time.time_ns())
    value, headers = rules_message(rules, key if is_signed else None)
    prepare = Preparation(replace(Settings(), published_rules=published))

    if refusal:
        with pytest.raises(RulesRefused, match=refusal):
            prepare.accept(Sent(value, headers))
        return
    ruleset = prepare.accept(Sent(value, headers)).ruleset
    (alert,) = Evaluator(ruleset).process(batch_of({"type": "openat"}))
    assert (alert.rule, alert.output.partition(" container")[0]) == ("P", "o")


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of the topic of rules."""

    data: bytes
    fields: Headers

    def value(self) -> bytes:
        """Return its bytes."""
        return self.data

    def headers(self) -> Headers:
        """Return its headers."""
        return self.fields

    def offset(self) -> int:
        """Return its position."""
        return 0
