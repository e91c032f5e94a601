"""Record ordinary work, and count the alerts that rules raise on it.

    sudo python -m bench.noise record FOLDER --minutes 15 [-r RULES]... [--kind KIND]...
    python -m bench.noise count FOLDER [-r RULES]... [--only RULE]...
    python -m bench.noise narrow FOLDER TARGET [-r RULES]

Each -r is a set of rule files, separated by commas; the default is the shipped rules. `record` also records what the
shipped rules need. With --only, `count` evaluates these rules alone, also if they are off. `narrow` leaves out what
rules don't need, those that are off included, and compresses the rest.
The kinds of work are done at the same time; hours of work are summed over them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from bench.noise.count import compiled_rules, count_noise, recordings_in
from bench.noise.narrow import narrow
from bench.noise.recorder import ALL_KINDS, record

SHIPPED = [Path(__file__).parents[2] / "rules"]
_SHOWN_OUTPUTS = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a subcommand."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.noise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("record", "count", "narrow"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path, nargs="?")
    parser.add_argument("-r", "--rules", action="append", type=_paths, default=[], metavar="FILE[,FILE]...")
    parser.add_argument("--only", action="append", default=[], metavar="RULE")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--kind", action="append", choices=ALL_KINDS)
    options = parser.parse_args(arguments)
    if options.action == "record":
        record(options.folder, options.minutes, [SHIPPED, *options.rules], options.kind or ALL_KINDS)
        return
    if options.action == "narrow":
        if options.target is None:
            parser.error("narrow needs a target")
        options.target.mkdir(parents=True, exist_ok=True)
        rules = compiled_rules(options.rules[0] if options.rules else SHIPPED, disabled=True)
        for path in sorted(options.folder.glob("*.avro")):
            narrow(path, options.target / f"{path.name}.xz", rules)
        return
    for paths in options.rules or [SHIPPED]:
        _print(options.folder, paths, options.only)


def _paths(text: str) -> list[Path]:
    return [Path(part) for part in text.split(",")]


def _print(folder: Path, paths: Sequence[Path], only: Sequence[str]) -> None:
    rules = compiled_rules(paths, only=only)
    noise = count_noise(recordings_in(folder), rules)
    print(
        f"\n{len(rules.names_of())} rules of {', '.join(path.name for path in paths)}: {len(noise.alerts)} alerts in "
        f"{noise.hours:.1f} hours of work ({noise.events:,} events), {len(noise.above_notice)} above Notice"
    )
    for line in noise.table():
        print(line)
    seen: dict[str, int] = {}
    for name, alert in noise.alerts:
        seen[alert.rule] = seen.get(alert.rule, 0) + 1
        if seen[alert.rule] <= _SHOWN_OUTPUTS:
            print(f"    {name}: {alert.rule}: {alert.output}")


if __name__ == "__main__":
    main()
