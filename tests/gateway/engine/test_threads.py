"""Only the engine thread keeps workers."""

from __future__ import annotations

import threading

import pytest
import torch

from gateway.engine.embedded.threads import compute_alone, run_apart


def test_a_thread_that_computes_alone_leaves_the_others_their_workers() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        seen: list[int] = []

        def work() -> None:
            compute_alone()
            seen.append(torch.get_num_threads())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [1]
        assert torch.get_num_threads() == 2
        assert run_apart(torch.get_num_threads) == 2
    finally:
        torch.set_num_threads(before)


def test_work_done_apart_leaves_no_thread_and_raises_its_own_error() -> None:
    def fail() -> None:
        raise ValueError("the reason")

    assert run_apart(lambda: 7) == 7
    with pytest.raises(ValueError, match="the reason"):
        run_apart(fail)
    assert not [t for t in threading.enumerate() if t.name == "torch-apart"]
