"""Versions of rules for tests of their rollout."""

from processor.detection.stage import compile_ruleset
from processor.fleet.rules.actions import RulesInUse
from processor.loading import RuleFile, load_rules
from schemas.encoding.batch import decode_batch
from schemas.published_rules import PublishedRules
from tests.unit.processor.correlation.rules import SSH, START, rule


def version(number: int, *, files: bool = False, closed: list[str] | None = None) -> RulesInUse:
    """Return the rules published at this second, whose text and offset differ from those of other versions.

    Args:
        number: of the version; a greater one is newer.
        files: the rules come from files instead.
        closed: receives the version's name when it is closed.
    """
    loaded = load_rules([RuleFile("rules.yaml", SSH + rule("many_ssh_connections", f"output {number}"))])
    published = PublishedRules((), publisher="me", host="laptop").named(START + number * 1_000_000_000)
    return RulesInUse(
        compile_ruleset(loaded.rules, loaded.macros),
        loaded,
        decode_batch,
        lambda: None if closed is None else closed.append(published.version),
        encoded_filter=b'{"events": {"accept": [{}]}}'
        if number % 2
        else b'{"events": {"accept": [{}], "accept4": [{}]}}',
        published=None if files else published,
        offset=-1 if files else number,
    )
