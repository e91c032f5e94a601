"""Builds the part of `lanner kubernetes` that does actions; only it needs the libraries of signatures."""

from pathlib import Path

from bus.connection import Connection
from collector.kubernetes.acting import ClusterActions
from collector.kubernetes.api import ApiServer
from foundation.quantities import parse_sum
from foundation.text import OnNote
from lanner.actions.cluster import ClusterActionService, ClusterExecutor, ClusterKeys, ClusterRights
from lanner.errors import BadInput
from lanner.settings import Settings
from lanner.wiring.published import private_key, read_people_keys, read_public_keys


def cluster_actions(
    settings: Settings, connection: Connection, api: ApiServer, term: str, note: OnNote
) -> ClusterActionService:
    """Return the service; nothing is connected. term: unique among the processes. Raises BadInput."""
    section = settings.kubernetes.actions
    if section.key_file is None:
        raise BadInput("kubernetes.actions.key_file: actions need a key that signs their results.")
    keys = ClusterKeys(
        private_key(Path(section.key_file), "kubernetes.actions.key_file", "LANNER_KUBERNETES_ACTIONS_KEY_PASSWORD"),
        read_public_keys("kubernetes.actions.processor_key_files", section.processor_key_files),
        read_people_keys("kubernetes.actions", section.people_key_files, section.console_key_files),
    )
    if not (keys.processors or keys.people.every):
        raise BadInput("kubernetes.actions: nothing would be accepted: set processor_key_files or people_key_files.")
    own = settings.kubernetes.lease_namespace or api.namespace
    rights = ClusterRights(
        settings.cluster_name or "", frozenset(section.enabled), section.never_nodes, parse_sum(section.max_lease) or 0
    )
    actions = ClusterActions(api, own, section.never_namespaces)
    return ClusterActionService(
        connection, keys, lambda write: ClusterExecutor(actions, rights, term=term, write=write, note=note), note
    )
