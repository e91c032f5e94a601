"""Sinks for the SIEM topics, one for each document format."""

import json
from collections.abc import Callable
from typing import Any

import lanner
from lanner.wiring.sinks.kinds import Opener, SinkContext, SinkKind
from notifier.delivery.outcome import RoutedAlert
from notifier.delivery.sink import Sink
from schemas.alert import Alert

Document = Callable[[Alert], dict[str, Any]]


def siem_kind(document: Callable[[], Document]) -> SinkKind:
    """Return the kind of a SIEM topic; document imports and returns its mapping."""

    def prepare(context: SinkContext) -> Opener:
        def open_topic() -> Sink:
            from notifier.remote.siem import SiemSink  # noqa: PLC0415  only SIEM topics need a broker's client

            assert context.connection is not None  # noqa: S101  commands refuse SIEM topics without a broker
            return SiemSink(context.connection, context.name, document())

        return open_topic

    def preview(_: SinkContext, routed: RoutedAlert) -> str:
        return json.dumps(document()(routed.alert), indent=2, default=str)

    return SinkKind(prepare, preview, has_text=False)


def falco() -> Document:
    """Return the mapping to Falco's JSON."""
    from notifier.siem import falco  # noqa: PLC0415

    return falco.document


def ecs() -> Document:
    """Return the mapping to the Elastic Common Schema."""
    from notifier.siem import ecs  # noqa: PLC0415

    return ecs.document


def ocsf() -> Document:
    """Return the mapping to the Open Cybersecurity Schema Framework."""
    from notifier.siem import ocsf  # noqa: PLC0415

    return lambda alert: ocsf.document(alert, version=lanner.__version__)
