"""The report's charts, as SVG to be put into a page: no file, no script, no colour of its own.

Colours are CSS variables of the page, so that one drawing serves light and dark; text stays text.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.choice import Choice, Considered
from trainer.gate.judge import margin_of
from trainer.gate.units import change
from trainer.gate.values import GateVerdict, MeasureVerdict, Verdict

# Stand-ins that no other part of a drawing uses, each replaced by a variable of the page.
_INK, _MUTED, _GRID, _PASS, _FAIL, _UNSURE, _ACCENT, _PAPER = (
    f"#0{i}0{i}0{i}" for i in range(1, 9)
)
_VARIABLES = {
    _INK: "ink",
    _MUTED: "muted",
    _GRID: "grid",
    _PASS: "pass",
    _FAIL: "fail",
    _UNSURE: "unsure",
    _ACCENT: "accent",
    _PAPER: "paper",
}
VERDICT_COLOURS = {Verdict.PASS: _PASS, Verdict.FAIL: _FAIL, Verdict.UNDECIDED: _UNSURE}
_MARKERS = {Verdict.PASS: "o", Verdict.FAIL: "X", Verdict.UNDECIDED: "D"}
_WIDTH = 5.2  # inches; at 72 a inch a phone shows it nearly whole
_CUT = 4.0  # margins; further out is drawn at the edge


def candidates_chart(choice: Choice) -> str:
    """Target gain over the worst guardrail (in margins), the Pareto front, and the chosen one."""
    figure, axes = _figure(3.6)
    places = [_place(c) for c in choice.candidates]
    axes.axvline(-1, color=_FAIL, linewidth=1.2, linestyle=(0, (4, 3)))
    front = sorted(p for p, c in zip(places, choice.candidates, strict=True) if c.front)
    axes.plot(*zip(*front, strict=True), color=_ACCENT, linewidth=1.2, alpha=0.55, zorder=1)
    for number, (place, considered) in enumerate(zip(places, choice.candidates, strict=True), 1):
        holds = considered.score.holds
        chosen = considered.score.name == choice.chosen
        if chosen:
            axes.plot(*place, "o", markersize=17, markerfacecolor="none", color=_ACCENT, zorder=2)
        axes.plot(
            *place,
            "o" if holds else "X",
            markersize=7,
            color=_PASS if holds else _FAIL,
            markeredgecolor=_PAPER,
            markeredgewidth=0.8,
            zorder=3,
        )
        if considered.front or chosen:
            axes.annotate(
                str(number),
                place,
                xytext=(0, 11),
                textcoords="offset points",
                ha="center",
                color=_INK,
                fontsize=9,
                fontweight="bold" if chosen else "normal",
            )
    left = min(-1.35, *(x for x, _ in places)) - 0.2
    axes.set_xlim(left, max(0.4, *(x for x, _ in places)) + 0.3)
    axes.margins(y=0.18)
    axes.set_xlabel("worst guardrail, in margins (left of −1: beyond what is allowed)")
    axes.yaxis.set_major_formatter(lambda value, _: change(value, choice.unit))
    axes.set_ylabel("gain on the target")
    return _svg(figure, "candidates")


def guardrails_chart(gate: GateVerdict) -> str:
    """Every judged guardrail's difference with its bounds, in margins."""
    rows = [
        (v, margin_of(v.measure, gate.rule))
        for v in gate.guardrails
        if v.measure.primary and margin_of(v.measure, gate.rule) > 0
    ]
    if not rows:
        return ""
    rows.sort(key=lambda row: row[0].low / row[1], reverse=True)
    figure, axes = _figure(0.75 + 0.43 * len(rows))
    high = min(_CUT, max(1.0, *(v.high / m for v, m in rows)))
    low = max(-_CUT, min(-1.4, *(v.low / m for v, m in rows)))
    axes.axvspan(low - 0.3, -1, color=_FAIL, alpha=0.09, linewidth=0)
    axes.axvline(-1, color=_FAIL, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.axvline(0, color=_MUTED, linewidth=1)
    for row, (verdict, margin) in enumerate(rows):
        _interval(axes, row, verdict, margin, (low, high))
    axes.set_xlim(low - 0.3, high + 0.3)
    axes.set_ylim(-0.55, len(rows) - 0.2)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_xlabel("adapter − base, in margins (−1 is the limit, 0 is no change)")
    return _svg(figure, "guardrails")


def training_chart(steps: Sequence[Mapping[str, Any]]) -> str:
    """The losses over the steps, lightly smoothed; "" where there are none."""
    series = {"loss_target": "target", "loss_anchors": "anchors", "kl": "KL to the base"}
    figure, axes = _figure(2.9)
    drawn = False
    styles: tuple[tuple[str, str], ...] = ((_ACCENT, "-"), (_PASS, "--"), (_UNSURE, ":"))
    for (key, label), (colour, style) in zip(series.items(), styles, strict=True):
        points = [
            (float(s["step"]), float(s[key]))
            for s in steps
            if isinstance(s.get(key), int | float) and math.isfinite(s[key])
        ]
        if not points:
            continue
        drawn = True
        at, values = zip(*points, strict=True)
        axes.plot(at, _smooth(values), linestyle=style, color=colour, linewidth=1.8, label=label)
    if not drawn:
        return ""
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step")
    axes.set_ylabel("nats a token")
    axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
    return _svg(figure, "training")


def _interval(
    axes: Axes, row: int, verdict: MeasureVerdict, margin: float, limits: tuple[float, float]
) -> None:
    def inside(value: float) -> float:
        return min(max(value / margin, limits[0]), limits[1])

    colour = VERDICT_COLOURS[verdict.verdict]
    axes.plot(
        [inside(verdict.low), inside(verdict.high)],
        [row, row],
        color=colour,
        linewidth=2.4,
        solid_capstyle="round",
    )
    axes.plot(
        inside(verdict.difference),
        row,
        _MARKERS[verdict.verdict],
        color=colour,
        markersize=8,
        markeredgecolor=_PAPER,
    )
    axes.text(
        0.005,
        row + 0.26,
        verdict.measure.name,
        transform=axes.get_yaxis_transform(),
        color=_INK,
        fontsize=9,
        va="center",
    )


def _place(considered: Considered) -> tuple[float, float]:
    return max(-_CUT, considered.score.worst.in_margins), considered.score.gain


def _smooth(values: Sequence[float]) -> list[float]:
    """A running mean over a twentieth of the steps."""
    width = max(1, len(values) // 20)
    return [
        sum(values[max(0, i - width + 1) : i + 1]) / (i + 1 - max(0, i - width + 1))
        for i in range(len(values))
    ]


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_GRID)
    axes.tick_params(colors=_MUTED, labelsize=9, length=0)
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(_MUTED)
        axis.label.set_fontsize(9)
    return figure, axes


def _svg(figure: Figure, salt: str) -> str:
    """The figure as an SVG element; `salt` keeps the ids of several in one page apart."""
    # Names come from files: a dollar sign in one is no formula.
    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "text.parse_math": False}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(
        r'id="(figure|axes|patch|text|line2d|matplotlib|xtick|ytick|legend)',
        rf'id="{salt}-\1',
        text,
    )
    text = re.sub(r"font: ([^;\"]*?)'[^\"]*?(;|\")", r"font: \1sans-serif\2", text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, f"var(--{variable})")
    return text
