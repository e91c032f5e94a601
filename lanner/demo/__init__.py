"""The demo: takes the built-in rules, runs a harmless action for each, returns whether the rule detected it."""

from lanner.demo.act import DemoAction, DemoContext, DemoSkipped
from lanner.demo.acts import ACTS, WITHOUT_ACTION

__all__ = ["ACTS", "WITHOUT_ACTION", "DemoAction", "DemoContext", "DemoSkipped"]
