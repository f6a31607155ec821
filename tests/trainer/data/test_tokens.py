"""Only the answer is learnt, and a template that would teach something else is refused."""

from __future__ import annotations

import pytest

from tests.tiny import make_tokenizer
from trainer.data.rows import Row
from trainer.data.tokens import check_template, render_masked, tokenize
from trainer.errors import TemplateMismatch

ROW = Row("a:1", ({"role": "user", "content": "the quick fox"},), "lazy dog")


def test_the_loss_is_on_the_answer_and_its_end_alone() -> None:
    tokenizer = make_tokenizer()
    row = tokenize(ROW, tokenizer)
    assert tokenizer.decode(list(row.tokens[row.prompt_len :])) == "lazy dog<|im_end|>"
    assert render_masked(row, tokenizer).endswith("assistant\n⟦lazy dog<|im_end|>⟧")


def test_a_cut_answer_does_not_teach_to_stop() -> None:
    tokenizer = make_tokenizer()
    row = tokenize(Row("a:1", ROW.prompt, "lazy", ended=False), tokenizer)
    assert row.tokens[-1] != tokenizer.eos_token_id


def test_a_template_that_fits_is_accepted() -> None:
    check_template(make_tokenizer(), "tiny")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "no chat template"),
        ("{{ messages[0]['content'] | nonsense }}", "refuses a row"),
        # The generation prompt is not how the assistant's turn begins.
        (
            "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<|im_end|>{% endfor %}"
            "{% if add_generation_prompt %}[assistant]<think>{% endif %}",
            "does not fit",
        ),
        # The turn does not end with the end token.
        (
            "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
            "{% if add_generation_prompt %}[assistant]{% endif %}",
            "does not fit",
        ),
    ],
)
def test_a_template_that_does_not_fit_names_the_model(template: str | None, said: str) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(TemplateMismatch, match=rf"tiny.*{said}"):
        check_template(tokenizer, "tiny")
