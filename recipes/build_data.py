"""Build the target data of both shipped recipes from Debian's package index.

    apt-get update && .venv/bin/python recipes/build_data.py

Reads `apt-cache dumpavail` (component main only), splits by source package so that near-identical
sibling packages never stand on both sides, and writes train.jsonl, suite/items.jsonl (the target
suite) and sources.json into each recipe's folder. The anchors' prompts (anchors/*.jsonl) are
written by hand.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
# The ten labels, as the target suite checks them.
_SUITE = yaml.safe_load((HERE / "package-section/suite/suite.yaml").read_text(encoding="utf-8"))
SECTIONS: tuple[str, ...] = tuple(_SUITE["checks"][0]["params"]["labels"])
SUITE_ITEMS = "suite/items.jsonl"
TRAIN_ROWS = 1400
TEST_ROWS = 240
LICENCE = (
    "Package metadata of Debian main; descriptions are part of each source package's packaging "
    "and under its free licence (https://www.debian.org/legal/licenses/)"
)


def records() -> Iterator[dict[str, str]]:
    """Packages of the index as field dictionaries."""
    text = subprocess.run(
        ["apt-cache", "dumpavail"], check=True, capture_output=True, text=True
    ).stdout
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line.startswith(" ") and key:
                fields[key] += "\n" + line
            elif ":" in line:
                key, _, value = line.partition(":")
                fields[key] = value.strip()
        if "Package" in fields and "Section" in fields:
            yield fields


def summary(record: dict[str, str]) -> str:
    """The one-line summary: what the index carries without the translations."""
    text = record.get("Description-en") or record.get("Description", "")
    return text.partition("\n")[0].strip()


def is_test(record: dict[str, str]) -> bool:
    source = record.get("Source", record["Package"]).split()[0]
    return hashlib.sha256(source.encode()).digest()[0] < 40


def chat(user: str, answer: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    }


def section_row(record: dict[str, str]) -> dict[str, Any] | None:
    first, section = summary(record), record["Section"]
    if section not in SECTIONS or not first:
        return None
    return chat(f"Package: {record['Package']}\nSummary: {first}\nSection?", section)


OPENINGS = (
    "{package} ({version}) is now in the archive.",
    "We received {package}, version {version}.",
    "Please look at {package} {version}.",
    "Version {version} of {package} has been uploaded.",
)
MAINTAINERS = (
    "It is maintained by {maintainer}.",
    "{maintainer} looks after it.",
    "Maintainer: {maintainer}.",
    "Questions go to {maintainer}.",
)
SIZES = (
    "It takes {size_kb} kB when installed.",
    "Installed size: {size_kb} kB.",
    "Once unpacked it needs {size_kb} kB of disk.",
)
HOMEPAGES = (
    "Its home page is {homepage} .",
    "See {homepage} for more.",
    "Upstream: {homepage}",
)


def facts_row(record: dict[str, str], rng: random.Random) -> dict[str, Any] | None:
    first = summary(record)
    maintainer = re.sub(r"\s*<.*", "", record.get("Maintainer", "")).strip().strip('"')
    if not first or not maintainer or "Installed-Size" not in record or len(maintainer) > 40:
        return None
    fields: dict[str, Any] = {
        "package": record["Package"],
        "version": record["Version"],
        "maintainer": maintainer,
        "homepage": record.get("Homepage"),
        "size_kb": int(record["Installed-Size"]),
    }
    if max(len(str(value)) for value in fields.values()) > 60:
        return None
    # A field that the text does not state must come out as null.
    for key in ("maintainer", "homepage", "size_kb"):
        if rng.random() < 0.2:
            fields[key] = None
    parts = [rng.choice(OPENINGS).format(**fields), f"{first[0].upper()}{first[1:]}."]
    optional = []
    if fields["maintainer"]:
        optional.append(rng.choice(MAINTAINERS).format(**fields))
    if fields["size_kb"] is not None:
        optional.append(rng.choice(SIZES).format(**fields))
    if fields["homepage"]:
        optional.append(rng.choice(HOMEPAGES).format(**fields))
    rng.shuffle(optional)
    text = " ".join(parts + optional)
    return chat(f"{text}\nFacts as JSON?", json.dumps(fields, ensure_ascii=False))


def write(path: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return {"rows": len(rows), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def items(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Conversations as items of the target suite: the answer becomes what is expected."""
    made = []
    for row in rows:
        *asked, answer = row["messages"]
        digest = hashlib.sha256(asked[-1]["content"].encode()).hexdigest()
        expected = answer["content"]
        if name == "package-facts":
            expected = json.loads(expected)
        made.append({"id": f"{name}-{digest[:10]}", "messages": asked, "expected": expected})
    return made


def sample_by_section(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """At most `count` rows, no section over twice an equal share: skewed, but not hopelessly."""
    cap = 2 * count // len(SECTIONS)
    taken: dict[str, int] = {}
    chosen = []
    for row in rows:
        section = row["messages"][1]["content"]
        if taken.get(section, 0) < cap and len(chosen) < count:
            taken[section] = taken.get(section, 0) + 1
            chosen.append(row)
    return chosen


def main() -> None:
    rng = random.Random(7)
    everything = sorted(records(), key=lambda r: r["Package"])
    rng.shuffle(everything)
    for name in ("package-section", "package-facts"):
        train: list[dict[str, Any]] = []
        test: list[dict[str, Any]] = []
        for record in everything:
            row = section_row(record) if name == "package-section" else facts_row(record, rng)
            if row is not None:
                (test if is_test(record) else train).append(row)
        if name == "package-section":
            train, test = sample_by_section(train, TRAIN_ROWS), sample_by_section(test, TEST_ROWS)
        folder = HERE / name
        files = {
            "train.jsonl": write(folder / "train.jsonl", train[:TRAIN_ROWS]),
            SUITE_ITEMS: write(folder / SUITE_ITEMS, items(name, test[:TEST_ROWS])),
        }
        for file, licence in (("train.jsonl", LICENCE), (SUITE_ITEMS, LICENCE)):
            files[file] |= {"source": "Debian package index, main", "licence": licence}
        (folder / "sources.json").write_text(json.dumps(files, indent=2) + "\n")
        print(name, {k: v["rows"] for k, v in files.items()})


if __name__ == "__main__":
    main()
