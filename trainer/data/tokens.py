"""Rows to tokens by the model's chat template, the loss on the answer alone.

The prompt's tokens are what the gateway's engine would send for it, and the answer's are encoded
apart, as the engine produces them: training sees exactly what serving will.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError

from trainer.data.rows import Row
from trainer.errors import TemplateMismatch


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One row's tokens; those from `prompt_len` on carry loss."""

    tokens: tuple[int, ...]
    prompt_len: int

    @property
    def answer_len(self) -> int:
        return len(self.tokens) - self.prompt_len


def check_template(tokenizer: Any, model_name: str) -> None:
    """Raise TemplateMismatch where `tokenizer`'s chat template cannot be used to train."""
    if tokenizer.chat_template is None:
        raise TemplateMismatch(
            f"{model_name} has no chat template; use its instruct variant, or put a "
            "chat_template.jinja into its folder"
        )
    if tokenizer.eos_token_id is None:
        raise TemplateMismatch(
            f"{model_name}'s tokenizer names no eos_token, so no answer's end could be learnt; "
            "set eos_token in its tokenizer_config.json to the token that ends a turn"
        )
    question = {"role": "user", "content": "Which one?"}
    answer = "This one."
    prompt = render_prompt(tokenizer, [question], model_name)
    try:
        whole = tokenizer.apply_chat_template(
            [question, {"role": "assistant", "content": answer}], tokenize=False
        )
    except (TemplateError, TypeError, KeyError, ValueError) as error:
        raise TemplateMismatch(f"{model_name}'s chat template fails: {error}") from None
    expected = f"{prompt}{answer}{tokenizer.eos_token}"
    if not whole.startswith(expected):
        raise TemplateMismatch(
            f"{model_name}'s chat template does not fit: a prompt followed by its answer and "
            f"{tokenizer.eos_token!r} is not how it renders the conversation "
            f"({expected[-60:]!r} against {whole[-60:]!r}); use a template whose generation "
            "prompt is the beginning of the assistant's turn (one that adds thinking tags to one "
            "side only does not fit), and an eos_token that ends the turn"
        )


def render_prompt(tokenizer: Any, messages: Sequence[Any], model_name: str) -> str:
    """The text that is sent for `messages`, ready for the answer."""
    try:
        text: str = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
        )
    except (TemplateError, TypeError, KeyError, ValueError) as error:
        raise TemplateMismatch(f"{model_name}'s chat template refuses a row: {error}") from None
    return text


def tokenize(row: Row, tokenizer: Any, model_name: str = "the model") -> TokenRow:
    """The row's tokens; the loss starts with the answer's first token."""
    prompt = render_prompt(tokenizer, row.prompt, model_name)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(row.answer, add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id] if row.ended else []
    return TokenRow((*prompt_ids, *answer_ids, *end), len(prompt_ids))


def render_masked(row: TokenRow, tokenizer: Any) -> str:
    """The row as the model sees it, what carries loss between ⟦ and ⟧."""
    prompt: str = tokenizer.decode(list(row.tokens[: row.prompt_len]))
    answer: str = tokenizer.decode(list(row.tokens[row.prompt_len :]))
    return f"{prompt}⟦{answer}⟧"
