"""What Python rule files import: `detect`, `enrich`, and the events that their functions get.

Here, so that editors and tests of a file find the names. The process that runs a file has the same ones, but nothing
else of this package.
"""

from processor.python.api import Event, detect, enrich

__all__ = ["Event", "detect", "enrich"]
