"""The shipped rules' items as YAML has them, for what every one of them must have."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parents[3] / "rules"


@cache
def items() -> tuple[dict[str, Any], ...]:
    """Return all items of the shipped files in the order in which they are loaded."""
    files = [path for path in sorted(RULES.glob("*.yaml")) if not path.stem.endswith("_test")]
    return tuple(item for path in files for item in yaml.safe_load(path.read_text()))


def rules() -> dict[str, dict[str, Any]]:
    """Return the shipped rules by name."""
    return {item["rule"]: item for item in items() if "rule" in item}
