from dataclasses import replace
from pathlib import Path

from bus.connection import Connection
from lanner.settings import Settings
from lanner.settings.sections.fleet import JsonSourceSetting
from lanner.sources.installed import define_sources, topics_of
from lanner.wiring.stages.processor import Preparation, rules_at_start

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
