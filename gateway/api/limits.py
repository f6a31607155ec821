"""The limits that protect the process, as values; settings say them, the API keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate chain and its private key, in PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """`head_bytes`: request line and headers. `head_s`: from the connection's first moment, or
    from the request's first byte, to the end of its headers."""

    head_bytes: int
    head_s: float


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Of one request's body, `seconds` from its headers to its last byte."""

    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """`prompt_tokens` None: what the context holds. `seconds`: from the request's arrival to its
    last token, the queue included."""

    prompt_tokens: int | None = None
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class FeedbackLimits:
    """How many answers are remembered for feedback, for how long, and whether its comments are
    written to the log."""

    requests: int = 50_000
    age_s: float = 86_400.0
    comments: bool = False
