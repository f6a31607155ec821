"""Token ids are those that transformers gives, whatever the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from gateway.engine.text import HuggingFaceText
from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_tiny_model(tmp_path_factory.mktemp("text") / "model")


@pytest.fixture(scope="module")
def text(folder: Path) -> HuggingFaceText:
    return HuggingFaceText(folder)


@pytest.fixture(scope="module")
def known(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


@given(said=st.text(max_size=60))
def test_plain_text_and_a_conversation_are_cut_as_transformers_cuts_them(
    known: Any, text: HuggingFaceText, said: str
) -> None:
    assert text.encode(said) == known(said)["input_ids"]
    messages = [{"role": "user", "content": said}]
    whole = known.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    assert text.encode_chat(messages) == whole["input_ids"]


def test_a_tokenizer_that_cuts_off_long_texts_is_told_not_to(folder: Path, tmp_path: Path) -> None:
    known = AutoTokenizer.from_pretrained(folder)
    known.backend_tokenizer.enable_truncation(8)
    known.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    said = "a fox and a dog and a cat " * 10
    whole = HuggingFaceText(tmp_path).encode(said)
    assert len(whole) > 8
    assert whole == HuggingFaceText(folder).encode(said)
