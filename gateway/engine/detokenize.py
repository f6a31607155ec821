"""Tokens to text as they come: whole characters only, stop strings never shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_REPLACEMENT = "\ufffd"
# A character is at most four bytes: of a run of undecodable ones the last three may be one that is
# not finished, those before are text that holds the replacement character.
_MAX_UNSURE = 3
_MAX_WINDOW = 32


@dataclass(frozen=True, slots=True)
class Piece:
    """New text; `stopped` where a stop string was met (it and what follows are not in `text`)."""

    text: str
    stopped: bool = False


class Detokenizer:
    """Incremental text of one continuation.

    Decodes a short window that starts a few tokens back, so that joins between tokens (a leading
    space, a character over several tokens) come out as in the whole text, at constant cost.
    """

    def __init__(self, tokenizer: Any, prompt_tail: Sequence[int], stop: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._window = list(prompt_tail)
        self._shown = len(self._decode(self._window))  # of the window's text, what was given out
        self._stop = stop
        self._held = ""  # given out only once it cannot begin a stop string
        self._fresh = 0  # tokens at the window's end that the next window must hold

    def push(self, token_id: int) -> Piece:
        """Take one token; the text that is certain now."""
        self._window.append(token_id)
        self._fresh += 1
        text = self._decode(self._window)
        unsure = _unsure(text)
        if unsure and self._fresh <= _MAX_UNSURE:
            # Tokens that are single bytes spoil those before them until a character is whole.
            return self._pass("")
        new = text[self._shown : len(text) - unsure]
        self._shown += len(new)
        # The next window starts with the tokens just shown, as context for the join; in a long run
        # of bytes that are no text, with the last few.
        if unsure == 0 or len(self._window) > _MAX_WINDOW:
            self._window = self._window[-min(self._fresh, _MAX_WINDOW // 2) :]
            self._shown = len(self._decode(self._window)) - unsure
            self._fresh = 0 if unsure == 0 else len(self._window)
        return self._pass(new)

    def finish(self) -> str:
        """What was held back, at the end of the continuation."""
        text = self._decode(self._window)
        rest, self._shown = text[self._shown :], len(text)
        piece = self._pass(rest)
        held, self._held = self._held, ""
        return piece.text + ("" if piece.stopped else held)

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _pass(self, new: str) -> Piece:
        text = self._held + new
        starts = [at for at in (text.find(s) for s in self._stop) if at >= 0]
        if starts:
            self._held = ""
            return Piece(text[: min(starts)], stopped=True)
        keep = max((_overlap(text, s) for s in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return Piece(text[: len(text) - keep])


class TokenTexts:
    """A token's own text and bytes, for log-probabilities. Kept once made."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._known: dict[int, tuple[str, bytes]] = {}
        self._bytes = {char: byte for byte, char in _byte_characters().items()}

    def __call__(self, token_id: int) -> tuple[str, bytes]:
        known = self._known.get(token_id)
        if known is None:
            known = self._known[token_id] = self._make(token_id)
        return known

    def _make(self, token_id: int) -> tuple[str, bytes]:
        raw = self._tokenizer.convert_ids_to_tokens(token_id)
        text = self._tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
        if raw is None:
            return text, text.encode()
        if _REPLACEMENT in text and all(char in self._bytes for char in raw):
            return text, bytes(self._bytes[char] for char in raw)  # byte-level BPE
        if len(raw) == 6 and raw.startswith("<0x"):
            return text, bytes([int(raw[3:5], 16)])  # byte fallback
        return text, text.encode()


def _unsure(text: str) -> int:
    """How many characters at the end of `text` may still become another one."""
    run = len(text) - len(text.rstrip(_REPLACEMENT))
    return min(run, _MAX_UNSURE)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if stop.startswith(text[-length:]):
            return length
    return 0


def _byte_characters() -> dict[int, str]:
    """Byte -> the printable character that stands for it in byte-level BPE (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(plain))
    return table
