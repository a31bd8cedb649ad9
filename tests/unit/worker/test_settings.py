"""A worker's settings: the environment round trip, and a clear word for what makes no sense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttg_worker.brokers import backend_of
from ttg_worker.brokers.base import DeliveryOptions
from ttg_worker.errors import BrokerError, SettingsError
from ttg_worker.settings import SYNTHETIC, WorkerSettings

LEAST = {"BROKER_URL": "redis://:hunter2@127.0.0.1:6379/0", "RUN_ID": "r", "WORKER_ID": "w"}


def settings(**changes: str) -> WorkerSettings:
    return WorkerSettings.from_environment(LEAST | changes)


def test_defaults():
    read = settings()
    assert read == WorkerSettings(broker_url=LEAST["BROKER_URL"], run_id="r", worker_id="w")
    assert read.workload == SYNTHETIC
    assert read.delivery == DeliveryOptions()


def test_every_variable_is_read():
    read = settings(
        QUEUE_BACKEND="redis",
        WORKLOAD="model.py:f",
        SIMULATE_WORK_MS="12.5",
        SIMULATE_FAULT_RATE="0.25",
        SEED="7",
        MAX_ATTEMPTS="5",
        RETRY_DELAY_MS="250",
        LEASE_MS="1500",
        DELIVERY_LIMIT="9",
        IDLE_EXIT_SECONDS="30",
        UNSAFE_ACK_EARLY="1",
        LOG_LEVEL="DEBUG",
        LOG_FORMAT="json",
    )
    assert read == WorkerSettings(
        broker_url=LEAST["BROKER_URL"],
        run_id="r",
        worker_id="w",
        workload="model.py:f",
        work_seconds=0.0125,
        fault_rate=0.25,
        seed=7,
        delivery=DeliveryOptions(
            max_attempts=5, retry_delay_seconds=0.25, lease_seconds=1.5, delivery_limit=9
        ),
        idle_exit_seconds=30.0,
        unsafe_ack_early=True,
        log_level="DEBUG",
        log_format="json",
    )


@given(
    st.builds(
        WorkerSettings,
        broker_url=st.sampled_from(["redis://h/0", "amqp://u:p@h:1/%2F", "rediss://h"]),
        run_id=st.just("run-1"),
        worker_id=st.just("w-1"),
        workload=st.sampled_from([SYNTHETIC, "a b.py:f"]),
        work_seconds=st.integers(0, 10**6).map(lambda ms: ms / 1000),
        fault_rate=st.integers(0, 1000).map(lambda n: n / 1000),
        seed=st.integers(0, 2**63),
        delivery=st.builds(
            DeliveryOptions,
            max_attempts=st.integers(1, 100),
            retry_delay_seconds=st.integers(1, 10**5).map(lambda ms: ms / 1000),
            lease_seconds=st.integers(500, 10**5).map(lambda ms: ms / 1000),
            delivery_limit=st.integers(1, 100),
        ),
        idle_exit_seconds=st.integers(0, 10**5).map(float),
        unsafe_ack_early=st.booleans(),
        log_level=st.sampled_from(["DEBUG", "INFO", "WARNING"]),
        log_format=st.sampled_from(["text", "json"]),
    )
)
def test_what_is_written_is_read_back(sent):
    received = WorkerSettings.from_environment(sent.to_environment())
    for name in ("work_seconds", "fault_rate"):
        assert getattr(received, name) == pytest.approx(getattr(sent, name), rel=1e-5)
    assert received.delivery.retry_delay_seconds == pytest.approx(sent.delivery.retry_delay_seconds)
    assert received.delivery.lease_seconds == pytest.approx(sent.delivery.lease_seconds)
    assert (received.seed, received.unsafe_ack_early, received.broker_url, received.workload) == (
        sent.seed,
        sent.unsafe_ack_early,
        sent.broker_url,
        sent.workload,
    )


@pytest.mark.parametrize("name", sorted(LEAST))
@pytest.mark.parametrize("value", [None, "", "  "])
def test_what_is_needed_must_be_there(name, value):
    environment = (
        {**LEAST, name: value} if value is not None else {k: v for k, v in LEAST.items() if k != name}
    )
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        WorkerSettings.from_environment(environment)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("QUEUE_BACKEND", "kafka", "rabbitmq, redis"),
        ("QUEUE_BACKEND", "rabbitmq", "BROKER_URL is of redis"),
        ("SIMULATE_WORK_MS", "fast", "a number of 0 or more"),
        ("SIMULATE_WORK_MS", "-1", "a number of 0 or more"),
        ("SIMULATE_WORK_MS", "nan", "a number of 0 or more"),
        ("SIMULATE_WORK_MS", "inf", "a number of 0 or more"),
        ("SIMULATE_FAULT_RATE", "1.01", "a number from 0 to 1"),
        ("SEED", "1.5", "a whole number of 0 or more"),
        ("MAX_ATTEMPTS", "0", "a whole number of 1 or more"),
        ("RETRY_DELAY_MS", "0", "a number of 1 or more"),
        ("LEASE_MS", "499", "a number of 500 or more"),
        ("DELIVERY_LIMIT", "-3", "a whole number of 1 or more"),
        ("IDLE_EXIT_SECONDS", "never", "a number of 0 or more"),
        ("UNSAFE_ACK_EARLY", "yes", "0, 1"),
        ("LOG_LEVEL", "LOUD", "DEBUG"),
        ("LOG_FORMAT", "xml", "text, json"),
    ],
)
def test_nonsense_is_named_with_what_is_accepted(name, value, accepted):
    with pytest.raises(SettingsError) as caught:
        settings(**{name: value})
    assert name in str(caught.value)
    assert value in str(caught.value)
    assert accepted in str(caught.value)


def test_an_unknown_broker_is_named_without_its_password():
    with pytest.raises(SettingsError, match="BROKER_URL") as caught:
        settings(BROKER_URL="kafka://:hunter2@h/")
    assert "kafka" in str(caught.value)
    assert "redis://" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "backend"),
    [
        ("amqp://h", "rabbitmq"),
        ("amqps://h", "rabbitmq"),
        ("redis://h", "redis"),
        ("rediss://h", "redis"),
        ("static:///h", "static"),
    ],
)
def test_backend_of(url, backend):
    assert backend_of(url) == backend


@pytest.mark.parametrize("url", ["", "h:6379", "http://h", "redis"])
def test_backend_of_none(url):
    with pytest.raises(BrokerError, match="redis://"):
        backend_of(url)
