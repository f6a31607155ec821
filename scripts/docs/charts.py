"""Charts of figures for the README, as SVG files: drawn from the results, and each time alike."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from scripts.docs.figures import result

_CUT = 4.0  # margins; further out is drawn at the edge
_INK, _GRID, _FAIL = "#57606a", "#d0d7de", "#c0362c"
_LOOKS = {"aggressive": (_FAIL, "X", 0.16), "anchored": ("#1a7f4b", "o", -0.16)}


def forgetting_chart() -> str | None:
    """Each judged guardrail's difference to the base, in margins, under both recipes; None where
    the experiment was not run."""
    read = result("forgetting")
    if read is None:
        return None
    figures: Mapping[str, Any] = read["figures"]
    names = [
        name
        for name, measured in figures["anchored"]["guardrails"].items()
        if measured.get("primary", True)
    ]
    names.sort(key=lambda name: -_in_margins(figures["aggressive"]["guardrails"][name])[0])
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "forgetting", "font.size": 9}):
        figure = Figure(figsize=(7.2, 0.36 * len(names) + 1.3), layout="constrained")
        figure.patch.set_facecolor("white")
        axes = figure.add_subplot()
        axes.axvspan(-_CUT - 0.3, -1, color=_FAIL, alpha=0.07, linewidth=0)
        axes.axvline(-1, color=_FAIL, linewidth=1, linestyle=(0, (4, 3)))
        axes.axvline(0, color=_INK, linewidth=0.8)
        for recipe, (colour, marker, shift) in _LOOKS.items():
            run = figures[recipe]
            (target,) = [m for m in run["target"].values() if m.get("primary", True)][:1]
            label = f"{recipe}: target {target['score']:.2f}, gate {run['gate']['verdict']}"
            for row, name in enumerate(names):
                seen, low, high = _in_margins(run["guardrails"][name])
                axes.plot([low, high], [row + shift] * 2, color=colour, linewidth=1.6, alpha=0.6)
                axes.plot(
                    [seen],
                    [row + shift],
                    marker,
                    color=colour,
                    markersize=6,
                    label=label if row == 0 else None,
                )
        axes.set_yticks(range(len(names)), names)
        axes.set_xlim(-_CUT - 0.3, _CUT + 0.3)
        axes.set_xlabel("difference to the base, in margins (left of −1: more than is allowed)")
        axes.grid(axis="x", color=_GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, colors=_INK)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        figure.legend(loc="outside upper left", frameon=False, ncols=2)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def _in_margins(measured: Mapping[str, Any]) -> tuple[float, float, float]:
    """Difference, low and high bound in margins, cut to what is drawn."""
    margin = measured["margin"]
    low, high = measured["interval"]
    cut = [max(-_CUT, min(_CUT, value / margin)) for value in (measured["difference"], low, high)]
    return cut[0], cut[1], cut[2]
