"""The runs of a soak, and all that is needed to repeat the one that ended it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import yaml

from ttgctl.cli.options.flags import RunBackendName
from ttgctl.cli.options.run_options import RunOptions
from ttgctl.cli.pipeline.start import Work, fit_substrate, made_up_series, specify
from ttgctl.core.account.judgement import CONTROL_LOST_NOTHING
from ttgctl.core.faults.powers import why_not
from ttgctl.core.records.run_folder import run_folder
from ttgctl.domain.random_plan import SURVIVABLE, random_plan
from ttgctl.domain.run import RunSpec, SpecError
from ttgctl.domain.verdict import Verdict
from ttgctl.ui.views.rerun import demo_command


class Soak:
    """Runs whose seeds count up from the one given; a run's plan follows from its seed and ``kinds``.

    ``kinds`` are names by commas, None for all that the substrate can inject here. Raises what is
    wrong with that, or with the machine, before anything runs.
    """

    def __init__(self, common: RunOptions, work: Work, *, kinds: str | None) -> None:
        if common.fault or common.faults or common.fault_demo:
            raise SpecError("soak draws its own faults; narrow them with --kinds")
        if common.backend is RunBackendName.static:
            raise SpecError("--backend static: fixed shares lose what a fault takes; soak rabbitmq or redis")
        self._common = common
        self._work = work
        self._name = common.name or made_up_series("soak")
        first = self._spec(common.seed, ())
        # Chosen once: later runs must not end up elsewhere.
        self.where = f"{first.backend} on {first.substrate}"
        with closing(fit_substrate(first, broker_url=common.broker_url)) as substrate:
            cannot = {kind: why_not(substrate, kind) for kind in SURVIVABLE}
        asked = set(SURVIVABLE) if kinds is None else set(kinds.split(","))
        for unknown in sorted(asked - set(SURVIVABLE)):
            raise SpecError(f"--kinds {unknown!r}: expected some of {', '.join(SURVIVABLE)}")
        for kind in SURVIVABLE:
            if kinds is not None and kind in asked and cannot[kind] is not None:
                raise SpecError(f"--kinds {cannot[kind]}")
        self.kinds = [kind for kind in SURVIVABLE if kind in asked and cannot[kind] is None]

    def specs(self, runs: int) -> Iterator[RunSpec]:
        for seed in range(self._common.seed, self._common.seed + runs):
            yield self._spec(seed, tuple(map(str, random_plan(seed, self.kinds).faults)))

    def _spec(self, seed: int, faults: tuple[str, ...]) -> RunSpec:
        common = replace(self._common, seed=seed, name=f"{self._name}-{seed}", fault=list(faults))
        return specify(common, self._work)


def survived(verdict: Verdict) -> bool:
    """Whether a soak goes on after this run. One of a negative control goes on until something is lost."""
    return verdict.lossless and set(verdict.unmet) <= {CONTROL_LOST_NOTHING}


def how_to_repeat(spec: RunSpec) -> dict[str, str | int | None]:
    """Where the run is and what repeats it; keeps its plan beside it as a file for ``--faults``."""
    folder = run_folder(spec.run_id)
    plan = folder.path / "plan.yaml"
    plan.write_text(yaml.safe_dump(list(spec.faults)))
    return {
        "run": spec.run_id,
        "seed": spec.seed,
        "folder": str(folder.path),
        "plan": str(plan),
        "repeat": f"ttgctl replay {spec.run_id}",
        "command": demo_command(spec),
    }
