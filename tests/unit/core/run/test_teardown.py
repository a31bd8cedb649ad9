"""Every step is tried, every failure said, and none hides another."""

from __future__ import annotations

import pytest

from ttgctl.core.run.teardown import Teardown


def failing(error: BaseException):
    def step() -> None:
        raise error

    return step


@pytest.mark.parametrize("broken", [{0}, {1}, {2}, {0, 1}, {0, 2}, {0, 1, 2}, set()])
def test_the_other_steps_are_tried_whatever_fails(broken):
    tried: list[int] = []

    def step(number: int):
        def act() -> None:
            tried.append(number)
            if number in broken:
                raise ValueError(f"no {number}")

        return act

    teardown = Teardown(tuple((f"end {number}", step(number)) for number in range(3)))
    assert teardown.carry_out() == [f"could not end {number}: no {number}" for number in sorted(broken)]
    assert tried == [0, 1, 2]


def test_an_interrupt_is_raised_after_the_last_step():
    done: list[str] = []
    steps = (("end this", failing(KeyboardInterrupt())), ("end that", lambda: done.append("that")))
    with pytest.raises(KeyboardInterrupt):
        Teardown(steps).carry_out()
    assert done == ["that"]
