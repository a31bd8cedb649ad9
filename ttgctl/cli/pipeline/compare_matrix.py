"""The runs of a comparison, and what they must show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ttgctl.cli.options.flags import RunBackendName
from ttgctl.cli.options.run_options import RunOptions
from ttgctl.cli.pipeline.start import Work, fit_substrate, made_up_series, specify
from ttgctl.core.ports import MissingRequirement
from ttgctl.core.records.run_record import RunRecord
from ttgctl.domain.run import RunSpec, SpecError
from ttgctl.domain.verdict import ExitCode, Verdict
from ttgctl.ui.text import formats


class Matrix:
    """Each backend without and with the faults that ``common`` asks for, the demo's by default.

    Repeats go round by round, so that a machine that grows slower does so for all of them.
    """

    def __init__(self, common: RunOptions, work: Work, *, backends: Sequence[str], repeat: int) -> None:
        unknown = set(backends) - set(RunBackendName)
        if unknown:
            raise SpecError(f"--backends {unknown.pop()!r}: expected some of {', '.join(RunBackendName)}")
        if common.backend is not None:
            raise SpecError("compare takes several backends: use --backends in place of --backend")
        self._common = common
        self._work = work
        self._backends = list(dict.fromkeys(backends))
        self._repeat = repeat
        self._name = common.name or made_up_series("cmp")

    @property
    def total(self) -> int:
        return 2 * len(self._backends) * self._repeat

    def check(self) -> None:
        """Whether every run can run, before the first of them does; raises what is wrong."""
        for backend in self._backends:
            try:
                spec = self._spec(backend, faulted=True, number=1)
                fit_substrate(spec, broker_url=self._common.broker_url).close()
            except MissingRequirement as error:
                rest = ",".join(b for b in self._backends if b != backend)
                raise MissingRequirement(f"{error}\n       or leave it out: --backends {rest}") from None

    def runs(self) -> Iterator[tuple[RunSpec, Callable[[Verdict], bool]]]:
        """Each run with what its verdict is expected to be."""
        for number in range(1, self._repeat + 1):
            for backend in self._backends:
                for faulted in (False, True):
                    spec = self._spec(backend, faulted=faulted, number=number)
                    # What fixed shares lose is what they are run for, and nothing to be kept.
                    expected = (lambda verdict: True) if not spec.has_queue else _lossless
                    yield spec, expected

    def _spec(self, backend: str, *, faulted: bool, number: int) -> RunSpec:
        common = self._common
        demo = common.fault_demo or not (common.fault or common.faults)
        chosen = replace(
            common,
            backend=RunBackendName(backend),
            name=f"{self._name}-{backend}-{'fault' if faulted else 'calm'}-{number}",
            fault_demo=demo and faulted,
            fault=common.fault if faulted else None,
            faults=common.faults if faulted else None,
        )
        return specify(chosen, self._work)


def _lossless(verdict: Verdict) -> bool:
    return verdict.lossless and not verdict.unmet


def judged(records: Sequence[RunRecord]) -> tuple[ExitCode, list[str]]:
    """Whether the comparison showed what it is to show, and what it showed, in lines.

    Queues must lose nothing, fixed shares nothing undisturbed; under a fault they must be seen to
    lose, or the fault was none. ``SUBSTRATE`` when all is well but a fault that hit nothing.
    """
    code = ExitCode.LOSSLESS
    lines = []
    for backend in dict.fromkeys(record.spec.backend for record in records):
        of_backend = [r for r in records if r.spec.backend == backend]
        calm = [r.verdict for r in of_backend if not r.faulted and r.verdict is not None]
        faulted = [r.verdict for r in of_backend if r.faulted and r.verdict is not None]
        if of_backend[0].spec.has_queue:
            good = all(_lossless(verdict) for verdict in [*calm, *faulted])
            bad = [v.run_id for v in [*calm, *faulted] if not _lossless(v)]
            lines.append(
                f"{backend}: lost nothing in {len(of_backend)} runs"
                if good
                else f"{backend}: NOT lossless: {', '.join(bad)}"
            )
        else:
            lost = sum(verdict.chunks.lost for verdict in faulted)
            good = all(map(_lossless, calm)) and all(v.chunks.lost or not v.complete for v in faulted)
            lines.append(
                f"{backend}: lost {formats.chunks(lost)} under the fault, as a sweep without a queue must"
                if good
                else f"{backend}: was NOT seen to lose under the fault alone; this comparison proves nothing"
            )
        if not good:
            code = ExitCode.LOSS
        if any(all(fault.effect is None for fault in verdict.faults) for verdict in faulted):
            code = code or ExitCode.SUBSTRATE
            lines.append(f"{backend}: a run's faults hit nothing; this comparison proves nothing")
    return code, lines
