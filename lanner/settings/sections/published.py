"""Settings of rules that `lanner rules publish` wrote for a whole fleet."""

from dataclasses import dataclass

from lanner.settings.about import about


@dataclass(frozen=True, slots=True)
class PublishedRulesSettings:
    """Rules from the topic: who takes them, and whose signature counts."""

    enabled: bool = about(
        "Processors judge by the version in the topic, where there is one, and not by rule files; collectors send\n"
        "what published versions ask for.",
        default=True,
    )
    public_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys: if any is set, a processor takes only rules that one of them signed.", ()
    )
    state_dir: str = about(
        "Where a processor with public_key_files keeps which version was the newest that it has had: an older one is\n"
        "refused, whoever publishes it again.",
        "/var/lib/lanner/processor",
    )
    wait_seconds: int = about(
        "How long a processor waits until every live host sends what a new version asks for; then it switches and\n"
        "says who didn't.",
        60,
    )
