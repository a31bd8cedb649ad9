"""From options to a run that can start: choices made, checked, and written down."""

from __future__ import annotations

import secrets
import shutil
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from ttg_worker.brokers import backend_of, open_broker
from ttg_worker.errors import BrokerError
from ttgctl.cli.options.flags import BackendName
from ttgctl.cli.options.run_options import RunOptions
from ttgctl.cli.status import say
from ttgctl.core.faults.plan_file import read_fault_plan
from ttgctl.core.ports import MissingRequirement, Substrate
from ttgctl.core.records.run_folder import RunFolder, run_folder
from ttgctl.domain.faults import parse_fault
from ttgctl.domain.presets import FAULT_DEMO, SCALES
from ttgctl.domain.run import RunSpec, SpecError
from ttgctl.substrates import choose, open_substrate


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a run computes; the part of its specification that is not the same for all commands."""

    kind: str
    parameters_total: int
    chunk_size: int
    work_ms: float = 0.0
    workload: str | None = None
    python: str | None = None
    chunk_function: bool = False
    parameter_source: str | None = None
    out: str | None = None
    reuse: tuple[str, ...] = ()


def synthetic_work(
    kind: str,
    scale: str,
    *,
    parameters_total: int | None,
    chunk_size: int | None,
    work_ms: float | None,
) -> Work:
    """Simulated work of a preset size, with what is given in place of the preset's figures."""
    preset = SCALES[scale]
    return Work(
        kind=kind,
        parameters_total=parameters_total or preset.parameters_total,
        chunk_size=chunk_size or preset.chunk_size,
        work_ms=preset.work_ms if work_ms is None else work_ms,
    )


def specify(common: RunOptions, work: Work) -> RunSpec:
    """The run that the options ask for; raises what is wrong with them, and makes nothing."""
    faults = _fault_texts(common)
    substrate, why = choose(common.substrate.value, context=common.context)
    if common.substrate.value == "auto":
        say(f"substrate: {substrate} ({why})")
    spec = RunSpec(
        run_id=common.name or made_up_name(work.kind),
        backend=_choose_backend(common, substrate),
        substrate=substrate,
        placement=common.placement,
        parameters_total=work.parameters_total,
        chunk_size=work.chunk_size,
        parameter_source=work.parameter_source,
        chunk_function=work.chunk_function,
        work_ms=work.work_ms,
        python=work.python,
        workers=common.workers,
        parameter_timeout=common.parameter_timeout,
        parameter_memory_bytes=common.parameter_memory,
        out=work.out,
        reuse=work.reuse,
        fault_rate=common.fault_rate,
        seed=common.seed,
        delivery=common.delivery,
        faults=faults,
        require_effect=common.require_effect,
        unsafe_ack_early=common.unsafe_ack_early,
        timeout_seconds=common.timeout,
        idle_exit_seconds=common.idle_exit_seconds,
        created_at=time.time(),
    )
    return spec if work.workload is None else replace(spec, workload=work.workload)


def made_up_name(kind: str) -> str:
    """A run name that sorts by time and that two commands of one second do not share."""
    return f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def made_up_series(kind: str) -> str:
    """The same for several runs that add to it what each of them is."""
    return f"{kind}-{time.strftime('%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def _fault_texts(common: RunOptions) -> tuple[str, ...]:
    texts = [FAULT_DEMO] if common.fault_demo else []
    parsed = [parse_fault(text) for text in [*texts, *(common.fault or [])]]
    if common.faults is not None:
        parsed += read_fault_plan(common.faults).faults
    return tuple(str(fault) for fault in parsed)


def _choose_backend(common: RunOptions, substrate: str) -> str:
    asked = common.backend.value if common.backend else None
    if common.broker_url is not None:
        backend = broker_url_backend(common.broker_url)
        if asked not in (None, backend):
            raise SpecError(f"--backend {asked}, but --broker-url is one of {backend}; leave one out")
        return backend
    if asked is not None:
        return asked
    if substrate != "local":
        return "rabbitmq"
    from ttgctl.substrates.local.rabbitmq_server import RabbitMQServer

    if RabbitMQServer.problem() is None:
        say("backend: rabbitmq (rabbitmq-server is installed)")
        return "rabbitmq"
    say("backend: redis (rabbitmq-server is not installed)")
    return "redis"


def broker_url_backend(url: str) -> str:
    """Of a URL that the user gave; raises :class:`SpecError`."""
    try:
        backend = backend_of(url)
    except BrokerError:
        backend = ""
    # Fixed shares are files and no broker that was there before, and reach no other machine.
    if backend not in tuple(BackendName):
        scheme = urlsplit(url).scheme
        raise SpecError(f"--broker-url {scheme}://…: expected amqp://…, amqps://…, redis://… or rediss://…")
    return backend


def prepare(spec: RunSpec, *, broker_url: str | None) -> tuple[RunFolder, Substrate]:
    """The run's folder with its ``run.json``, and its substrate, which is fit for it.

    Raises :class:`MissingRequirement` with the fixes when a check of the substrate fails, and
    :class:`BrokerError` when the broker of ``broker_url`` can't be used; then nothing was made.
    """
    folder = run_folder(spec.run_id)
    if folder.run_json.exists():
        raise SpecError(
            f"there is a run {spec.run_id} already; take another --name, or: ttgctl resume {spec.run_id}"
        )
    substrate = fit_substrate(spec, broker_url=broker_url)
    if broker_url is not None:
        _try_broker(spec, broker_url)
    folder.write_spec(spec)
    if broker_url is not None:
        folder.write_broker_url(broker_url)
    return folder, substrate


def fit_substrate(spec: RunSpec, *, broker_url: str | None) -> Substrate:
    """The run's substrate; raises :class:`MissingRequirement` when it is not fit for the run."""
    substrate = open_substrate(spec.substrate, spec.placement, backend=spec.backend, broker_url=broker_url)
    failed = [problem for problem in substrate.preflight() if problem.status == "fail"]
    if failed:
        lines = [f"{p.check}: {p.detail.rstrip('.')}; {p.fix}" for p in failed]
        raise MissingRequirement("\n       ".join(lines))
    return substrate


def _try_broker(spec: RunSpec, url: str) -> None:
    with closing(open_broker(url, options=spec.delivery)) as broker:
        if broker.exists(spec.run_id):
            raise SpecError(f"the broker holds queues of a run {spec.run_id} already; take another --name")


def copy_input(folder: RunFolder, path: Path) -> None:
    """Keeps a file as it is now in the run's ``input/``, under its own name."""
    folder.input.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder.input / path.name)
