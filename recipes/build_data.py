"""Build the data of both shipped recipes from Debian's package index and the base model.

    apt-get update && .venv/bin/python recipes/build_data.py

Reads `apt-cache dumpavail` (component main only), splits by source package so that near-identical
sibling packages never stand on both sides, and writes train.jsonl, test.jsonl and sources.json
into each recipe's folder, plus anchors.jsonl (the base model's own answers to general prompts).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import general  # noqa: E402

SECTIONS = (
    "admin",
    "editors",
    "electronics",
    "fonts",
    "games",
    "graphics",
    "mail",
    "math",
    "net",
    "sound",
)
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


def anchors() -> list[dict[str, Any]]:
    """The base model's own greedy answers to the anchor prompts."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from gateway.model.source import resolve_model

    files = resolve_model(None)
    tokenizer = AutoTokenizer.from_pretrained(files.path, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(files.path, dtype=torch.float32)
    rows = []
    for start in range(0, len(general.ANCHORS), 16):
        prompts = general.ANCHORS[start : start + 16]
        batch = tokenizer.apply_chat_template(
            [[{"role": "user", "content": p}] for p in prompts],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
            padding=True,
        )
        out = model.generate(**batch, max_new_tokens=72, do_sample=False)
        for prompt, ids in zip(prompts, out[:, batch["input_ids"].shape[1] :], strict=True):
            ended = tokenizer.eos_token_id in ids.tolist()
            row = chat(prompt, tokenizer.decode(ids, skip_special_tokens=True).strip())
            # A cut answer must not teach the model to stop in mid-sentence.
            row["ended"] = ended
            rows.append(row)
    return rows


def main() -> None:
    rng = random.Random(7)
    everything = sorted(records(), key=lambda r: r["Package"])
    rng.shuffle(everything)
    kept = HERE / "package-section" / "anchors.jsonl"
    if kept.is_file():  # the base model's answers: delete the file to have them made again
        anchor_rows = [json.loads(line) for line in kept.read_text().splitlines()]
    else:
        anchor_rows = anchors()
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
            "test.jsonl": write(folder / "test.jsonl", test[:TEST_ROWS]),
            "anchors.jsonl": write(folder / "anchors.jsonl", anchor_rows),
            "general.jsonl": write(
                folder / "general.jsonl", [chat(prompt, "") for prompt in general.HELD_OUT]
            ),
        }
        for file, licence in (("train.jsonl", LICENCE), ("test.jsonl", LICENCE)):
            files[file] |= {"source": "Debian package index, main", "licence": licence}
        files["anchors.jsonl"] |= {
            "source": "prompts written for this project, answers by the base model",
            "licence": "Apache-2.0",
        }
        files["general.jsonl"] |= {
            "source": "prompts written for this project",
            "licence": "Apache-2.0",
        }
        (folder / "sources.json").write_text(json.dumps(files, indent=2) + "\n")
        print(name, {k: v["rows"] for k, v in files.items()})


if __name__ == "__main__":
    main()
