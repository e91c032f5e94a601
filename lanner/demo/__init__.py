"""The demo: takes the built-in rules, runs a harmless action for each, returns whether the rule detected it."""

from collections.abc import Mapping
from types import MappingProxyType

from lanner.demo.access_acts import ACCESS_ACTS
from lanner.demo.act import DemoAction, DemoContext, DemoSkipped
from lanner.demo.container_acts import CONTAINER_ACTS
from lanner.demo.execution_acts import EXECUTION_ACTS
from lanner.demo.host_acts import HOST_ACTS, STATEFUL_ACTS
from lanner.demo.stealth_acts import STEALTH_ACTS

__all__ = ["ACTS", "WITHOUT_ACTION", "DemoAction", "DemoContext", "DemoSkipped"]

ACTS: tuple[DemoAction, ...] = (
    *HOST_ACTS,
    *ACCESS_ACTS,
    *EXECUTION_ACTS,
    *STEALTH_ACTS,
    *STATEFUL_ACTS,
    *CONTAINER_ACTS,
)

WITHOUT_ACTION: Mapping[str, str] = MappingProxyType({
    "Overwrite program through proc in container": "The kernel refuses it while the program runs.",
    "New user namespace in container": "Docker forbids it by default.",
    "Start privileged container": "The demonstration starts no privileged container.",
    "Start container with sensitive mount": "The demonstration gives no container a directory of this machine.",
    "Run program with dangerous environment": "Environment variables are collected only if an active rule names them.",
    "Run program with proxy in environment": "Environment variables are collected only if an active rule names them.",
    "Connect to address without looked up name": "Answers of name servers are read only if an active rule uses names.",
    "Request TLS server without looked up name": "TLS connections are read only if an active rule uses server names.",
    "Many long names looked up": "Answers of name servers are read only if an active rule uses names.",
    "Run program of no package as root": "Programs' files are read only if an active rule uses what they are.",
    "Run changed program of package": "Programs' files are read only if an active rule uses what they are.",
    "Connect with dropped program": "Programs' files are read only if an active rule uses what they are.",
    "New program of fleet uses network": "Programs' files are read only if an active rule uses what they are.",
    "Login after many connections to SSH": "The demonstration starts no SSH server.",
    "First connection of image to address": "The rule learns for a day before it reports anything.",
    "First look-up of domain by image": "Answers of name servers are read only if an active rule uses names.",
    "First run of program in image": "The rule learns for a day before it reports anything.",
    "First child program of server": "The rule learns for a day before it reports anything.",
    "Interactive shell by person": "It needs audit events of a Kubernetes API server.",
    "Interactive shell by person, audit event later": "It needs audit events of a Kubernetes API server.",
})  # fmt: skip
"""Why a rule has no action."""
