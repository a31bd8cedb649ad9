"""Fault texts and the schedule that follows from them."""

from __future__ import annotations

import contextlib
import itertools
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ttg_worker.simulated_faults import Picks
from ttgctl.domain.fault_kinds import CHUNKS, FAULT_KINDS, FaultKindName
from ttgctl.domain.fault_schedule import Occurrence, occurrences, picked_chunks, victim_order
from ttgctl.domain.faults import (
    FaultPlan,
    FaultPlanError,
    FaultSpec,
    parse_fault,
    parse_plan,
)


def test_a_kill_as_the_readme_writes_it() -> None:
    assert parse_fault("kill-worker at=30% count=1") == FaultSpec(
        kind="kill-worker", at_percent=30.0, count=1
    )


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("kill-worker", "kill-worker at=30% count=1"),
        ("kill-worker every=10s jitter=2s", "kill-worker every=10s jitter=2s count=1"),
        ("stop-worker at=500ms share=50%", "stop-worker at=0.5s share=50% duration=10s"),
        ("slow-worker at=2m factor=2.50", "slow-worker at=120s count=1 factor=2.5"),
        (
            "partition where=node=n2,tier=a duration=3s",
            "partition at=30% count=1 duration=3s where=node=n2,tier=a",
        ),
        ("kill-broker at=0%", "kill-broker at=0% duration=2s"),
        ("restart-broker at=12s", "restart-broker at=12s duration=0s"),
        ("stop-node", "stop-node at=30% count=1 duration=10s"),
        ("error-rate rate=5%", "error-rate rate=0.05"),
        ("poison chunks=3,1,3", "poison chunks=1,3"),
        ("duplicate share=2.5%", "duplicate share=2.5%"),
        ("corrupt-result", "corrupt-result count=1"),
        ("  kill-worker   at=1h\tcount=10 ", "kill-worker at=3600s count=10"),
    ],
)
def test_texts_are_filled_in_and_made_canonical(text: str, canonical: str) -> None:
    assert str(parse_fault(text)) == canonical
    assert parse_fault(canonical) == parse_fault(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["no fault is called ''", "kill-worker", "corrupt-result"]),
        ("kill at=3s", ["'kill'", "kill-worker"]),
        ("kill-worker at", ["'at'", "key=value"]),
        ("kill-worker at=", ["'at='", "key=value"]),
        ("kill-worker duration=3s", ["kill-worker has no 'duration'", "at, every"]),
        ("kill-worker at=100%", ["at='100%'", "under 100%"]),
        ("kill-worker at=12", ["at='12'", "30%", "12s"]),
        ("kill-worker at=nan%", ["at='nan%'"]),
        ("kill-worker at=-1s", ["at='-1s'"]),
        ("kill-worker at=1e3s", ["at='1e3s'"]),
        ("kill-worker at=٣s", ["at="]),
        ("kill-worker every=10ms", ["100ms or more"]),
        ("kill-worker at=3s every=3s", ["at and every exclude each other"]),
        ("kill-worker count=1 share=50%", ["count and share exclude each other"]),
        ("poison count=1 chunks=3", ["count and chunks exclude each other"]),
        ("kill-worker times=3", ["times goes with every"]),
        ("kill-worker at=30% jitter=2s", ["jitter goes with a time in seconds"]),
        ("kill-worker at=3s at=4s", ["at is there twice"]),
        ("kill-worker count=0", ["count='0'", "from 1"]),
        ("kill-worker share=0%", ["share='0%'"]),
        ("kill-worker share=101%", ["share='101%'"]),
        ("kill-worker where=node", ["where='node'", "node="]),
        ("slow-worker factor=1", ["factor='1'", "1.1"]),
        ("error-rate", ["error-rate needs rate="]),
        ("error-rate rate=2", ["rate='2'", "0.05"]),
        ("poison chunks=1,x", ["chunks='1,x'", "1,2,3"]),
        ("kill-worker at=" + "9" * 5000 + "s", ["at="]),
    ],
)
def test_nonsense_is_refused_with_the_place_the_word_and_what_is_accepted(
    text: str, words: list[str]
) -> None:
    with pytest.raises(FaultPlanError) as refused:
        parse_plan(["kill-worker", text])
    message = str(refused.value)
    assert message.startswith("fault 2: ")
    assert len(message) < 400
    for word in words:
        assert word in message


KEY_WORDS = sorted({key for row in FAULT_KINDS.values() for key in row.keys})
VALUES = [
    "30%",
    "12s",
    "500ms",
    "2m",
    "0.5h",
    "3",
    "1,2,3",
    "node=a",
    "a=b,c=d",
    "0.05",
    "1.5",
    "100%",
    "x",
    "0",
]


@given(st.one_of(st.text(), st.lists(st.text(), max_size=4).map(" ".join)))
@example("kill-worker at=\ud800")
def test_any_text_is_a_fault_or_refused(text: str) -> None:
    with contextlib.suppress(FaultPlanError):
        parse_fault(text)


@given(
    st.sampled_from(sorted(FAULT_KINDS)),
    st.lists(st.tuples(st.sampled_from(KEY_WORDS), st.sampled_from(VALUES)), max_size=5),
)
def test_likely_texts_are_refused_or_parse_back_from_their_own_words(
    kind: str, settings: list[tuple[str, str]]
) -> None:
    text = " ".join([kind, *(f"{key}={value}" for key, value in settings)])
    try:
        fault = parse_fault(text)
    except FaultPlanError:
        return
    assert parse_fault(str(fault)) == fault
    assert fault.timed == ("at" in FAULT_KINDS[kind].keys)


TIMED = st.sampled_from(
    [
        "kill-worker every=2s jitter=1s",
        "stop-worker at=5s jitter=3s",
        "partition at=40% share=50%",
        "kill-broker",
    ]
)


def schedule(plan: FaultPlan, *, seed: int, most: int = 10) -> list[Occurrence]:
    """At most ``most`` times of each fault of the plan."""
    return [
        occurrence
        for index, spec in enumerate(plan.faults)
        for occurrence in itertools.islice(occurrences(spec, index=index, seed=seed), most)
    ]


@given(st.lists(TIMED, min_size=1, max_size=4), st.integers(0, 2**64))
def test_the_same_seed_and_plan_give_the_same_schedule(texts: list[str], seed: int) -> None:
    plan = parse_plan(texts)
    planned = schedule(plan, seed=seed)
    assert planned == schedule(parse_plan(map(str, plan.faults)), seed=seed)
    # What comes first does not depend on how far one looks.
    assert schedule(plan, seed=seed, most=3) == [o for o in planned if o.number < 3]


def test_jitter_moves_times_by_no_more_than_it_says_and_differs_by_seed() -> None:
    fault = parse_fault("kill-worker every=10s jitter=2s")
    times = {
        seed: [o.at_seconds for o in itertools.islice(occurrences(fault, index=0, seed=seed), 20)]
        for seed in range(20)
    }
    for of_seed in times.values():
        for number, at in enumerate(of_seed, 1):
            assert at is not None
            assert 10 * number <= at <= 10 * number + 2
    assert len({tuple(of_seed) for of_seed in times.values()}) == 20


def test_every_is_endless_unless_bounded() -> None:
    bounded = list(occurrences(parse_fault("kill-worker every=1s times=3"), index=0, seed=0))
    assert [o.at_seconds for o in bounded] == [1.0, 2.0, 3.0]
    endless = occurrences(parse_fault("kill-worker every=1s"), index=0, seed=0)
    assert next(itertools.islice(endless, 5000, None)).at_seconds == 5001.0


def test_due_by_progress_or_by_time() -> None:
    (by_progress,) = occurrences(parse_fault("kill-worker at=30%"), index=0, seed=0)
    assert not by_progress.due(fraction=0.299, elapsed_seconds=1e9)
    assert by_progress.due(fraction=0.3, elapsed_seconds=0.0)
    (by_time,) = occurrences(parse_fault("kill-worker at=12s"), index=0, seed=0)
    assert not by_time.due(fraction=0.99, elapsed_seconds=11.9)
    assert by_time.due(fraction=0.0, elapsed_seconds=12.0)


@given(st.integers(0, 2**32), st.sets(st.integers(1, 50), min_size=2, max_size=12), st.data())
def test_who_is_hit_first_depends_on_no_one_else(seed: int, ordinals: set[int], data: st.DataObject) -> None:
    (occurrence,) = occurrences(parse_fault("kill-worker"), index=3, seed=seed)
    order = victim_order(occurrence, ordinals, seed=seed)
    assert sorted(order) == sorted(ordinals)
    some = data.draw(st.sets(st.sampled_from(sorted(ordinals))))
    assert victim_order(occurrence, some, seed=seed) == [n for n in order if n in some]


def test_seeds_lead_to_different_victims() -> None:
    (occurrence,) = occurrences(parse_fault("kill-worker"), index=0, seed=0)
    first = [victim_order(occurrence, [1, 2, 3], seed=seed)[0] for seed in range(300)]
    assert {first.count(n) > 60 for n in (1, 2, 3)} == {True}


@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(1, 500))
def test_counted_chunks_are_drawn_by_seed_among_those_of_the_run(seed: int, count: int, total: int) -> None:
    fault = parse_fault(f"poison count={count}")
    text = picked_chunks(fault, index=0, seed=seed, chunks_total=total)
    assert text == picked_chunks(fault, index=0, seed=seed, chunks_total=total)
    picks = Picks(text, seed=seed, purpose="poison")
    assert len(picks.ids) == min(count, total)
    assert all(0 <= chunk_id < total for chunk_id in picks.ids)


def test_named_chunks_that_the_run_does_not_have_are_left_out() -> None:
    fault = parse_fault("poison chunks=3,99,100")
    assert picked_chunks(fault, index=0, seed=0, chunks_total=100) == "3,99"
    assert picked_chunks(fault, index=0, seed=0, chunks_total=2) == ""


def test_a_share_of_chunks_is_about_that_share_and_the_same_for_every_worker() -> None:
    text = picked_chunks(parse_fault("corrupt-result share=5%"), index=0, seed=7, chunks_total=10_000)
    one, other = (Picks(text, seed=7, purpose="corrupt-result") for _ in range(2))
    hit = [c for c in range(10_000) if c in one]
    assert 400 < len(hit) < 600
    assert hit == [c for c in range(10_000) if c in other]
    assert hit != [c for c in range(10_000) if c in Picks(text, seed=8, purpose="corrupt-result")]


@pytest.mark.parametrize("text", ["x", "-1", "1,%", "101%", "nan%", "1.5"])
def test_picks_refuse_what_they_cannot_read(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Picks(text, seed=0, purpose="poison")


def test_every_kind_of_chunk_fault_knows_how_to_name_chunks() -> None:
    assert {kind for kind, row in FAULT_KINDS.items() if row.keys == CHUNKS} == {
        "poison",
        "duplicate",
        "corrupt-result",
    }


def test_the_table_has_every_kind_and_what_undoes_it() -> None:
    assert set(FAULT_KINDS) == set(get_args(FaultKindName))
    undone = {kind for kind, row in FAULT_KINDS.items() if row.undone_by is not None}
    assert undone == {kind for kind, row in FAULT_KINDS.items() if "duration" in row.keys}
