"""The report says the verdict first, needs nothing else, and makes no markup of any text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from tests.trainer.report.runs import HOSTILE, make_run
from trainer.errors import TrainerError
from trainer.folder import RunFolder
from trainer.gate.values import Verdict
from trainer.report import cli, words
from trainer.report.gather import gather
from trainer.report.values import RunReport


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunReport]:
    folder = make_run(tmp_path_factory.mktemp("careful"))
    return folder, cli.write_report(folder)


class _Page(HTMLParser):
    """Every tag, every attribute, and the text in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_verdict_comes_before_anything_else(run: tuple[RunFolder, RunReport]) -> None:
    folder, report = run
    assert report.gate.verdict is Verdict.PASS
    assert folder.report_markdown.read_text().startswith("# ✓ Passed")
    body = folder.report_html.read_text().split("<body>")[1]
    assert body.index("Passed: this adapter may be approved") < body.index("<h2>")


def test_page_runs_and_loads_nothing(run: tuple[RunFolder, RunReport]) -> None:
    page = _Page(run[0].report_html.read_text())
    assert not {"script", "img", "link", "iframe", "object", "base"} & set(page.tags)
    loaded = [v for n, v in page.attributes if n in ("src", "href", "action", "srcset")]
    assert all(value.startswith("#") for value in loaded)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    style = run[0].report_html.read_text()
    assert "@import" not in style
    assert not re.search(r"url\((?!#)", style)


def test_answers_are_shown_as_they_were_given(run: tuple[RunFolder, RunReport]) -> None:
    page = _Page(run[0].report_html.read_text())
    assert page.words.count(HOSTILE) >= 3


def test_charts_are_drawings_with_their_words(run: tuple[RunFolder, RunReport]) -> None:
    drawings = re.findall(r"<svg.*?</svg>", run[0].report_html.read_text(), re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        ElementTree.fromstring(drawing)  # raises where it is not well-formed
        assert "var(--ink)" in drawing
    assert "facts/exact_match" in drawings[0]
    ids = re.findall(r'id="([^"]+)"', "".join(drawings))
    assert len(ids) == len(set(ids))


def test_markdown_makes_nothing_of_hostile_text(run: tuple[RunFolder, RunReport]) -> None:
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(run[0].report_markdown.read_text())
    )
    page = _Page(html)
    assert not {"script", "img", "a"} & set(page.tags)
    assert "not a heading" not in "".join(re.findall(r"<h\d>(.*?)</h\d>", html))
    assert html.count("<table>") >= 5


@given(st.text(max_size=60))
def test_any_text_stays_one_line_of_text_in_markdown(text: str) -> None:
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(f"| a | b |\n| --- | --- |\n| {words.markdown(text)} | end |\n")
    )
    page = _Page(html)
    assert page.tags.count("td") == 2
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}


@given(st.text(alphabet="`a\n", max_size=20))
def test_a_fence_is_closed_by_nothing_within(text: str) -> None:
    fence = words.fence(text)
    html = MarkdownIt().render(f"{fence}\n{text}\n{fence}\nafter")
    assert html.count("<code>") == 1
    assert "<p>after</p>" in html


def test_json_holds_the_verdict_and_the_choice(run: tuple[RunFolder, RunReport]) -> None:
    stored = json.loads(run[0].summary.read_text())
    assert stored["gate"]["verdict"] == "pass"
    assert stored["choice"]["chosen"] == run[1].choice.chosen


def test_guardrail_changes_are_worst_first_with_both_answers(
    run: tuple[RunFolder, RunReport],
) -> None:
    changes = {c.measure: c for c in run[1].changes}
    facts = changes["facts/exact_match"]
    assert facts.worse > 0
    assert [c.worse for c in facts.shown] == sorted((c.worse for c in facts.shown), reverse=True)
    first = facts.shown[0]
    assert (first.base_answer, first.adapter_answer.split()[0]) == (
        f"base says {first.id.split('-')[1]}",
        run[1].choice.chosen,
    )


def test_labels_are_counted_before_and_after(run: tuple[RunFolder, RunReport]) -> None:
    (found,) = run[1].labels
    net = next(each for each in found.labels if each.label == "net")
    assert found.labels[0] == net  # the most frequent in truth
    assert net.base > net.adapter > net.truth


def test_a_changed_suite_shows_no_wrong_question(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    items = folder.root / "suite" / "items.jsonl"
    items.write_text(items.read_text().replace("A package", "Another"))
    target = next(c for c in gather(folder).changes if c.measure == "sections/label")
    assert {change.question for change in target.shown} == {""}


def test_a_harmful_run_says_what_is_broken(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "harsh", harm=40.0)
    found = cli.write_report(folder)
    assert found.gate.verdict is Verdict.FAIL
    text = folder.report_html.read_text()
    assert "Failed: do not serve this adapter" in text
    assert "No candidate of this run holds every guardrail" in text
    assert "broken, worst" in text


def test_command_writes_all_three_and_says_the_verdict(run: tuple[RunFolder, RunReport]) -> None:
    app = typer.Typer()
    cli.register(app)
    result = CliRunner().invoke(app, ["report", str(run[0].root)])
    assert result.exit_code == 0, result.output
    assert "Passed" in result.output
    assert "report.html" in result.output.replace("\n", "")


@pytest.mark.parametrize("missing", ["choice.json", "gate.json", "evals/gate/base.json"])
def test_an_unfinished_run_says_what_it_lacks(tmp_path: Path, missing: str) -> None:
    folder = make_run(tmp_path / "run")
    (folder.root / missing).unlink()
    with pytest.raises(TrainerError, match=Path(missing).name):
        gather(folder)
    with pytest.raises(TrainerError, match="not a folder"):
        gather(RunFolder(tmp_path / "none"))
