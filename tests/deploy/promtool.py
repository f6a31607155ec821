"""The shipped Prometheus files as values, and `promtool` to ask about them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.docs.figures import ROOT
from tests.debian import program

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))


@dataclass(frozen=True)
class Rule:
    """One alert or recording rule of the shipped files."""

    name: str
    expr: str
    alert: bool
    labels: dict[str, str]
    annotations: dict[str, str]


def shipped_rules() -> list[Rule]:
    """All rules, in the order of the files."""
    return [
        Rule(
            name=rule.get("alert") or rule["record"],
            expr=rule["expr"],
            alert="alert" in rule,
            labels=rule.get("labels", {}),
            annotations=rule.get("annotations", {}),
        )
        for path in RULES
        for group in read(path)["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[Rule]:
    """The alerts alone."""
    return [rule for rule in shipped_rules() if rule.alert]


def read(path: Path) -> Any:
    """A YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def promtool(*arguments: str) -> None:
    """Run it; fails with what it says where it finds fault."""
    done = subprocess.run(
        [program("promtool", "prometheus"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def check_expressions(expressions: dict[str, str], folder: Path) -> None:
    """Fails where one of `expressions` (by what to call it) is no PromQL."""
    path = folder / "expressions.yml"
    rules = [
        {"record": f"expression:{number}", "expr": expr, "labels": {"of": name}}
        for number, (name, expr) in enumerate(expressions.items())
    ]
    path.write_text(yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]}))
    promtool("check", "rules", str(path))
