"""Settings of rules published by `lanner rules publish`."""

from dataclasses import dataclass

from lanner.settings.about import about


@dataclass(frozen=True, slots=True)
class PublishedRulesSettings:
    """Published rules: whether to use them, and whose signatures to accept."""

    enabled: bool = about(
        "Processors run the published version, if there is one, instead of rule files; collectors send what published\n"
        "versions need.",
        default=True,
    )
    public_key_files: tuple[str, ...] = about(
        "PEM files of Ed25519 public keys: if any is set, a processor accepts only rules signed by one of them.", ()
    )
    state_dir: str = about(
        "Folder where a processor with public_key_files stores the newest version that it accepted; it refuses older\n"
        "ones, regardless of who publishes them again.",
        "/var/lib/lanner/processor",
    )
    wait_seconds: int = about(
        "How long a processor waits until every live host sends what a new version needs; then it switches and\n"
        "reports the hosts that didn't.",
        60,
    )
