from __future__ import annotations

import pytest

from ttgctl.ui.text import formats


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.012, "12 ms"),
        (0.0996, "0.1 s"),
        (1.24, "1.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (184, "3 min 04 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (86_400 * 3 + 4 * 3600, "3 d 04 h"),
        (-3.1, "-3.1 s"),
    ],
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (720, "12m"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600 + 300, "8h"),
        (47 * 3600, "47h"),
        (2 * 86_400 + 4 * 3600, "2d4h"),
        (40 * 86_400, "40d"),
        (3 * 365 * 86_400 + 86_400, "3y1d"),
        (9 * 365 * 86_400, "9y"),
    ],
)
def test_ages_are_those_of_kubectl(seconds, text):
    assert formats.age(seconds) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0, "0.0/s"), (0.43, "0.43/s"), (2.87, "2.9/s"), (99.96, "100/s"), (12_345.6, "12,346/s")],
)
def test_rates(per_second, text):
    assert formats.rate(per_second) == text


def test_all_but_one_is_not_a_hundred_percent():
    assert formats.percent(999_999 / 1_000_000) == "99 %"
    assert formats.percent(0.29) == "29 %"
    assert formats.percent(1.0) == "100 %"


def test_many_ids_are_shortened_with_their_number():
    assert formats.ids([4, 17, 31]) == "4, 17, 31"
    assert formats.ids(range(1220), most=3) == "0, 1, 2 and 1,217 more"


def test_text_from_elsewhere_can_not_steer_the_terminal():
    assert formats.one_line("red \x1b[31mand\r\nnew\x07 line\u202e") == "red [31mand new line"
