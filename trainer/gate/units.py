"""Scores and differences in words, by their unit: shares as percent and percentage points."""

from __future__ import annotations


def number(value: float, unit: str) -> str:
    """A score: shares as percent, others with three figures."""
    return minus(f"{100 * value:.1f}%" if unit == "share" else f"{value:.3g}")


def change(value: float, unit: str) -> str:
    """A difference with its sign."""
    return minus(f"{100 * value:+.1f} pp" if unit == "share" else f"{value:+.3g}")


def amount(value: float, unit: str) -> str:
    """A difference without sign, with its unit."""
    return minus(f"{100 * value:.1f} pp" if unit == "share" else f"{value:.3g} {unit}")


def p_text(p_value: float) -> str:
    """`p = 0.012`, `p < 0.0001`."""
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.2g}"


def minus(text: str) -> str:
    """`text` with the sign that is as wide as a plus."""
    return text.replace("-", "−")
