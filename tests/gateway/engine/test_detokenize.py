"""Streamed text is the whole's text: whatever the tokens, in whole characters, without stops."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from gateway.engine.detokenize import Detokenizer, TokenTexts
from tests.tiny import make_tokenizer

_TEXTS = st.text(alphabet="a b日é🙂\n{語ü", max_size=30)


@cache
def byte_level() -> Any:
    return make_tokenizer()


@cache
def byte_fallback() -> Any:
    """Whole characters for a few, bytes (`<0xE6>`) for all others, as in sentencepiece models."""
    vocabulary = {f"<0x{byte:02X}>": byte for byte in range(256)}
    vocabulary |= {piece: 256 + at for at, piece in enumerate("▁ab日")}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def decode(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def deltas(tokenizer: Any, ids: list[int], stop: tuple[str, ...] = ()) -> list[str]:
    """Each push's text and then the end's."""
    detokenizer = Detokenizer(tokenizer, (), stop)
    texts = []
    for token in ids:
        piece = detokenizer.push(token)
        texts.append(piece.text)
        if piece.stopped:
            return texts
    return [*texts, detokenizer.finish()]


@given(st.lists(st.integers(0, 399), max_size=60))
def test_any_tokens_of_a_byte_level_tokenizer_stream_as_they_decode(ids: list[int]) -> None:
    assert "".join(deltas(byte_level(), ids)) == decode(byte_level(), ids)


@given(st.lists(st.sampled_from(range(128, 256)), min_size=40, max_size=200))
def test_long_runs_that_are_no_text_stream_as_they_decode(bytes_: list[int]) -> None:
    tokenizer = byte_level()
    table = {raw: token for token in range(400) if len(raw := TokenTexts(tokenizer)(token)[1]) == 1}
    ids = [table[bytes([byte])] for byte in bytes_]
    assert "".join(deltas(tokenizer, ids)) == decode(tokenizer, ids)


@given(_TEXTS)
def test_characters_split_over_byte_tokens_come_whole(text: str) -> None:
    ids = byte_level()(text)["input_ids"]
    pieces = deltas(byte_level(), ids)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@given(_TEXTS)
def test_characters_split_over_fallback_bytes_come_whole(text: str) -> None:
    tokenizer = byte_fallback()
    known = {"a": 257, "b": 258, "日": 259, " ": 256}
    ids: list[int] = []
    for character in text:
        ids += [known[character]] if character in known else list(character.encode())
    pieces = deltas(tokenizer, ids)
    assert "".join(pieces) == decode(tokenizer, ids)
    assert not any("\ufffd" in piece for piece in pieces)


@given(_TEXTS, st.lists(st.text(alphabet="a b日é", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_string_wherever_tokens_part_it(
    text: str, stops: list[str]
) -> None:
    ids = byte_level()(text)["input_ids"]
    shown = "".join(deltas(byte_level(), ids, tuple(stops)))
    found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
    if not found:
        assert shown == text
        return
    # Never a stop string, and all that came before the first one that was completed.
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
    assert len(shown) >= min(found)


@pytest.mark.parametrize("stop", ["end", "日本", "\n\n"])
def test_nothing_of_a_stop_string_is_ever_shown(stop: str) -> None:
    ids = byte_level()(f"some text {stop} more")["input_ids"]
    assert "".join(deltas(byte_level(), ids, (stop,))) == "some text "


def test_text_that_only_begins_a_stop_string_is_shown_at_the_end() -> None:
    ids = byte_level()("so en")["input_ids"]
    assert "".join(deltas(byte_level(), ids, ("end",))) == "so en"
