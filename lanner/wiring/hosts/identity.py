"""Loads this host's identity in the fleet, as configured."""

from pathlib import Path
from typing import TYPE_CHECKING

import lanner
from collector.host.facts import HostFacts
from lanner.errors import BadInput
from lanner.settings import Settings
from schemas.records.host_keys import BadHostKey, check_host_id

if TYPE_CHECKING:
    from collector.host.identity import HostIdentity


def identity_of(settings: Settings, host: HostFacts) -> "HostIdentity | None":
    """Return the identity that signs this host's batches, creating the key if needed; None if signing is off.

    Raises:
        BadInput: The key can't be used, or the host id is invalid.
        EnvironmentUnsupported: The library for signing is missing.
    """
    return None if settings.collector.identity == "off" else signing_identity(settings, host)


def signing_identity(settings: Settings, host: HostFacts) -> "HostIdentity":
    """Return this host's identity, creating the key if needed. Raises as identity_of."""
    from collector.host.identity import FILE_NAME, BadKeyFile, HostIdentity, host_key  # noqa: PLC0415  `lanner run` signs nothing

    path = Path(settings.collector.key_file or Path(settings.kafka.spool_dir, FILE_NAME))
    try:
        check_host_id(host.id)
        key = host_key(path)
    except BadHostKey as error:
        raise BadInput(f"host.id: {error}.") from None
    except BadKeyFile as error:
        raise BadInput(f"the key of this host: {error}") from None
    except OSError as error:
        raise BadInput(f"the key of this host: {path}: {error.strerror}.") from None
    return HostIdentity(host.id, host.name, lanner.__version__, key)
