"""Loads rules that state only their names and tags."""

from processor.loading import Rule, RuleFile, load_rules


def tagged(**tags: str) -> tuple[Rule, ...]:
    """Return rules by name with their tags, separated by blanks; `off` among them disables the rule."""
    items = [
        f"- rule: {name}\n  desc: d\n  condition: evt.type = ptrace\n  output: o\n  priority: NOTICE\n"
        f"  tags: [{', '.join(text.replace('off', '').split())}]\n  enabled: {'false' if 'off' in text else 'true'}\n"
        for name, text in tags.items()
    ]
    result = load_rules([RuleFile("r.yaml", "".join(items))])
    assert result.ok
    return result.rules
