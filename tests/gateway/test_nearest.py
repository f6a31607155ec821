"""The name that was meant, at a bounded price."""

from __future__ import annotations

import difflib

import pytest

from gateway.nearest import nearest

MANY = [f"w{n:05}" for n in range(10_000)]


@pytest.mark.parametrize(
    ("name", "found"), [("triaeg", "triage"), ("nots", "notes"), ("zzz", None), ("", None)]
)
def test_a_typing_error_finds_its_name(name: str, found: str | None) -> None:
    assert nearest(name, ["triage", "notes"]) == found


@pytest.mark.parametrize("name", ["ticket-traige", "ticket-triage2", "icket-triage"])
def test_it_is_found_among_many(name: str) -> None:
    assert nearest(name, [*MANY, "ticket-triage", *(f"ticket-{n}" for n in range(500))]) == (
        "ticket-triage"
    )


def test_few_names_of_many_and_no_long_text_are_compared_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[str] = []

    def close(_: str, names: list[str], **__: object) -> list[str]:
        compared.extend(names)
        return []

    monkeypatch.setattr(difflib, "get_close_matches", close)
    nearest("w0000x", MANY)
    assert 0 < len(compared) <= 50
    compared.clear()
    assert nearest("w" * 100_000, MANY) is None
    assert not compared
