"""Write schemas/catalogue_attack.json again: `.venv/bin/python deploy/docs/attack.py CTI VERSION`.

CTI is a copy of https://github.com/mitre/cti; only ids, names, tactics, platforms and replacements are taken from it.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "schemas" / "catalogue_attack.json"
_SOURCE = "https://github.com/mitre/cti, enterprise-attack"
_NOTICE = (
    "© 2026 The MITRE Corporation. "
    "This work is reproduced and distributed with the permission of The MITRE Corporation."
)


def _all(folder: Path) -> list[dict[str, Any]]:
    return [each for file in folder.glob("*.json") for each in json.loads(file.read_text("utf-8"))["objects"]]


def _objects(folder: Path) -> list[dict[str, Any]]:
    return [each for each in _all(folder) if not each.get("revoked") and not each.get("x_mitre_deprecated")]


def _id(item: dict[str, Any]) -> str:
    return next(
        str(each["external_id"]) for each in item["external_references"] if each["source_name"] == "mitre-attack"
    )


def rows(cti: Path) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return the tactics in the order of the matrix, and the techniques by id."""
    tactics = {item["id"]: item for item in _objects(cti / "enterprise-attack" / "x-mitre-tactic")}
    (matrix,) = _objects(cti / "enterprise-attack" / "x-mitre-matrix")
    ordered = [tactics[reference] for reference in matrix["tactic_refs"]]
    ids = {item["x_mitre_shortname"]: _id(item) for item in ordered}
    techniques = [
        [
            _id(item),
            item["name"],
            sorted({ids[phase["phase_name"]] for phase in item["kill_chain_phases"]}),
            sorted(item["x_mitre_platforms"]),
        ]
        for item in _objects(cti / "enterprise-attack" / "attack-pattern")
    ]
    return [[_id(item), item["name"], item["x_mitre_shortname"]] for item in ordered], sorted(techniques)


def replacements(cti: Path) -> list[list[str]]:
    """Return the ids of revoked techniques, each with the id of the technique that replaces it."""
    folder = cti / "enterprise-attack"
    ids = {item["id"]: _id(item) for item in _all(folder / "attack-pattern")}
    newer = {
        ids[item["source_ref"]]: ids[item["target_ref"]]
        for item in _objects(folder / "relationship")
        if item["relationship_type"] == "revoked-by" and item["source_ref"] in ids
    }
    pairs = []
    for old, replacement in sorted(newer.items()):
        last = replacement
        while last in newer:
            last = newer[last]
        pairs.append([old, last])
    return pairs


def main(cti: str, version: str) -> None:
    """Write the table, one technique a line."""
    tactics, techniques = rows(Path(cti))
    head = {"version": version, "source": _SOURCE, "notice": _NOTICE}
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    for name, table in (("tactics", tactics), ("techniques", techniques), ("revoked", replacements(Path(cti)))):
        inner = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in table)
        lines.append(f'  "{name}": [\n{inner}\n  ]')
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
