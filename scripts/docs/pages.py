"""Every file that is made, with its maker; and the pages that hold made tables. The gateway's
shipped probes are made as well: of the trainer's suites, which the gateway may not import."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from gateway.cli.main import app as gateway_app
from gateway.probes.reading import dumped
from scripts.docs import admin_api, commands, inference_api, metrics, routes_file, settings
from scripts.docs.charts import forgetting_chart
from scripts.docs.figures import ROOT
from scripts.docs.markdown import filled
from scripts.docs.tables import TABLES
from trainer.cli import app as trainer_app
from trainer.probes.export import probe_lines, shipped

_NOTE = "<!-- Made by `make docs` from the code: edit there, not here. -->\n\n"

REFERENCE: Mapping[str, Callable[[], str]] = {
    "cli-gateway.md": lambda: commands.page("gateway", gateway_app),
    "cli-trainer.md": lambda: commands.page("trainer", trainer_app),
    "settings.md": settings.page,
    "metrics.md": metrics.page,
    "admin-api.md": admin_api.page,
    "admin-openapi.json": admin_api.openapi_json,
    "inference-api.md": inference_api.page,
    "inference-openapi.json": inference_api.openapi_json,
    "routes-yaml.md": routes_file.page,
    "routes.schema.json": routes_file.schema_json,
}


def made() -> Iterator[tuple[str, str]]:
    """Path (from the repository's root) and text of every file as it should be."""
    for name, make in REFERENCE.items():
        text = make()
        yield f"docs/reference/{name}", _NOTE + text if name.endswith(".md") else text
    yield (
        "gateway/probes/default.jsonl",
        "".join(f"{dumped(line)}\n" for line in probe_lines(shipped())),
    )
    chart = forgetting_chart()
    if chart is not None:
        yield "docs/images/forgetting.svg", chart
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        where = str(path.relative_to(ROOT))
        if not where.startswith("docs/reference/"):
            yield where, filled(path.read_text(encoding="utf-8"), TABLES, where)


def stale() -> list[str]:
    """The files that are not as the code says."""
    return [where for where, text in made() if _committed(where) != text]


def write() -> list[str]:
    """Write what is stale; returns the paths."""
    written = []
    for where, text in made():
        if _committed(where) != text:
            path = ROOT / where
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(where)
    return written


def _committed(where: str) -> str | None:
    path = ROOT / where
    return path.read_text(encoding="utf-8") if path.is_file() else None
