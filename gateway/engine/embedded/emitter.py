"""From a step's logits to deltas: sample, detokenise, find the end, and put it in the outbox."""

from __future__ import annotations

import torch

from gateway.engine.base import Delta, FinishReason, TokenLogprob, TopToken
from gateway.engine.detokenize import Detokenizer, TokenTexts
from gateway.engine.embedded.rows import Row, Submission
from gateway.engine.embedded.runner import PromptScores, StepResult
from gateway.engine.embedded.sampling import RowSampler, Sampled, prompt_logprobs, sample
from gateway.engine.embedded.stream import Outbox
from gateway.engine.text import HuggingFaceText

# Prompt tokens the detokeniser starts from, so that a first token that joins onto the prompt
# (a space that is not written, say) gets its text right.
_PROMPT_TAIL = 6


class Emitter:
    """Makes rows and moves them on by one token. Owned by the engine thread."""

    def __init__(self, text: HuggingFaceText, outbox: Outbox, *, max_len: int) -> None:
        self._text = text
        self._outbox = outbox
        self._max_len = max_len
        self._token_texts = TokenTexts(text.tokenizer)
        self.tokens_generated = 0

    def new_row(self, submission: Submission, choice: int) -> Row:
        """The row of one choice, ready to wait for its turn."""
        request = submission.request
        constraint = submission.constraint.start() if submission.constraint else None
        return Row(
            submission=submission,
            choice=choice,
            tokens=list(request.prompt),
            prompt_len=len(request.prompt),
            sampler=RowSampler(request.sampling, choice=choice, constraint=constraint),
            detokenizer=Detokenizer(
                self._text.tokenizer, request.prompt[-_PROMPT_TAIL:], request.sampling.stop
            ),
        )

    @torch.inference_mode()
    def emit(self, result: StepResult) -> list[Row]:
        """Sample a token for each row of `result`, queue its delta, and return the rows that
        ended."""
        for scores in result.scores:
            self._score(scores)
        rows = [row for row in result.rows if row.request.sampling.max_tokens > 0]
        ended = [row for row in result.rows if row.request.sampling.max_tokens == 0]
        for row in ended:
            self._put(row, "", (), (), FinishReason.LENGTH)
        logits = result.logits
        if ended:
            logits = logits[[i for i, row in enumerate(result.rows) if row not in ended]]
        if rows:
            sampled = sample(logits, [row.sampler for row in rows])
            ended += [
                row for row, token in zip(rows, sampled, strict=True) if self._take(row, token)
            ]
        return ended

    def cancelled(self, row: Row) -> None:
        """Tell the row's reader that it was cancelled."""
        self._put(row, row.detokenizer.finish(), (), (), FinishReason.CANCELLED)

    def _take(self, row: Row, sampled: Sampled) -> bool:
        """Append the token to its row; whether that ended it."""
        sampling = row.request.sampling
        token = sampled.token_id
        row.tokens.append(token)
        row.generated += 1
        self.tokens_generated += 1
        if token in self._text.eos_ids and not sampling.ignore_eos:
            # The end has its probability too: who asked for scores gets one for every token.
            scores = () if sampling.logprobs is None else (self._logprob(sampled),)
            self._put(row, row.detokenizer.finish(), (), scores, FinishReason.STOP)
            return True
        piece = row.detokenizer.push(token)
        finish: FinishReason | None = None
        text = piece.text
        if piece.stopped:
            finish = FinishReason.STOP
        elif row.generated >= sampling.max_tokens or len(row.tokens) >= self._max_len:
            finish = FinishReason.LENGTH
            text += row.detokenizer.finish()
        logprobs = () if sampling.logprobs is None else (self._logprob(sampled),)
        self._put(row, text, (token,), logprobs, finish)
        return finish is not None

    def _put(
        self,
        row: Row,
        text: str,
        tokens: tuple[int, ...],
        logprobs: tuple[TokenLogprob, ...],
        finish: FinishReason | None,
    ) -> None:
        prompt = None
        if row.prompt_logprobs:
            prompt, row.prompt_logprobs = tuple(row.prompt_logprobs), []
        self._outbox.put(
            row.submission.stream,
            Delta(
                index=row.choice,
                text=text,
                token_ids=tokens,
                logprobs=logprobs,
                prompt_logprobs=prompt,
                finish=finish,
            ),
        )

    def _score(self, scores: PromptScores) -> None:
        """Add the log-probabilities of the prompt tokens that this chunk's logits predict."""
        row, count = scores.row, scores.row.request.sampling.prompt_logprobs
        assert count is not None
        if row.generated:
            return  # a row that was pre-empted: they were sent with its first token
        if scores.start == 0 and row.request.sampling.prompt_logprobs_from == 0:
            row.prompt_logprobs.append(self._token_logprob(row.tokens[0], None, ()))
        first = scores.start + 1
        targets = row.tokens[first : min(first + scores.logits.shape[0], row.prompt_len)]
        if not targets:
            return
        for token, (logprob, top) in zip(
            targets, prompt_logprobs(scores.logits[: len(targets)], targets, count), strict=True
        ):
            row.prompt_logprobs.append(self._token_logprob(token, logprob, top))

    def _logprob(self, sampled: Sampled) -> TokenLogprob:
        return self._token_logprob(sampled.token_id, sampled.logprob, sampled.top)

    def _token_logprob(
        self,
        token: int,
        logprob: float | None,
        top: list[tuple[int, float]] | tuple[tuple[int, float], ...],
    ) -> TokenLogprob:
        text, raw = self._token_texts(token)
        return TokenLogprob(
            token_id=token,
            text=text,
            raw=raw,
            logprob=logprob,
            top=tuple(TopToken(i, *self._token_texts(i), value) for i, value in top),
        )
