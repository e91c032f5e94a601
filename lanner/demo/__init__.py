"""Harmless acts, one for each rule that ships, so that anybody can see detection work on their own machine."""

from lanner.demo.act import DemoAction, DemoContext, DemoSkipped
from lanner.demo.acts import ACTS

__all__ = ["ACTS", "DemoAction", "DemoContext", "DemoSkipped"]
