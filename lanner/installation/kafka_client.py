"""Imports the Kafka client in part, for a collector: the whole takes 2 MiB more of 50.

All that a collector uses is in the package's C module. The package itself also imports clients that encode messages,
and with them asyncio.
"""

import importlib
import importlib.util
import sys

_PACKAGE = "confluent_kafka"


def import_core() -> None:
    """Import the package with the names of its C module; the first use of any other name imports the rest.

    Does nothing if the package was imported before, or has no such module.
    """
    spec = None if _PACKAGE in sys.modules else importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.loader is None:
        return
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    try:
        core = importlib.import_module(f"{_PACKAGE}.cimpl")
        # It and `serialization` import each other, which works in this order only.
        importlib.import_module(f"{_PACKAGE}.error")
    except ImportError:
        del sys.modules[_PACKAGE]
        return

    def import_rest(name: str) -> object:
        # From here on, a name that is missing is an error.
        if vars(package).pop("__getattr__", None) is not None and spec.loader is not None:
            spec.loader.exec_module(package)
        return getattr(package, name)

    names = {name: value for name, value in vars(core).items() if not name.startswith("_")}
    vars(package).update(names, __getattr__=import_rest)
