"""Sweeps from Python: the same functions as the command line, with values for what it prints.

What a user can mend is a `t2f.errors.UserError`. Nothing here prints.
"""

import getpass
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from scheduler import commands, model_reads, own_loop, reads, waiting
from scheduler.exporting import export_table
from scheduler.home import Home
from scheduler.models import sweep_data
from scheduler.reads import Trial
from scheduler.registry import BEST
from scheduler.states import SweepState
from scheduler.store import Store
from scheduler.submission import submit_spec
from scheduler.submitting import Tree
from scheduler.sweepfile import SweepSpec, read_sweep, read_sweep_file
from scheduler.trial_logs import trial_logs
from t2f.cli import DEFAULT_HOME
from t2f.errors import SpecError, UserError
from t2f.trainfile import Section
from t2f.yamlfile import parse_lineless

if TYPE_CHECKING:
    from pandas import DataFrame

LOOK_SECONDS = 0.5  # between two looks at a sweep that is waited for


@dataclass(frozen=True, kw_only=True)
class Best:
    """A sweep's best trial so far."""

    trial: str
    number: int
    parameters: Mapping[str, Any]
    resolution: int  # px of the deepest stage that was measured
    values: Mapping[str, float]  # metric -> value there
    closed_gates: tuple[str, ...]  # not empty only where no trial passed
    model: Path | None  # its bundle, once the sweep's best model is made

    @property
    def value(self) -> float:
        """Of the metric, or of the first of several."""
        return next(iter(self.values.values()))


class SweepFile:
    """A sweep that was read, and is not submitted yet."""

    def __init__(self, spec: SweepSpec, text: str) -> None:
        self._spec, self._text = spec, text

    @property
    def name(self) -> str:
        return self._spec.name

    def tree(self, *, home: Path | str | None = None, as_prepared: bool = False) -> Tree:
        """What it would come down to, as `t2f sweep submit --dry-run` says it; nothing is written."""
        place = _place(home)
        return submit_spec(self._spec, self._text, place, as_prepared=as_prepared, dry_run=True, quiet=True).tree

    def submit(
        self,
        *,
        home: Path | str | None = None,
        name: str | None = None,
        as_prepared: bool = False,
        own_loop: bool = False,
    ) -> "Sweep":
        """Store it; a running `t2f up` trains it.

        name: instead of the file's. as_prepared: train on the data as it was prepared, though its source changed.
        own_loop: no worker trains it; its trials are for `ask` and `tell`.
        """
        place = _place(home)
        done = submit_spec(
            self._spec, self._text, place, name=name, as_prepared=as_prepared, own_loop=own_loop, quiet=True
        )
        return Sweep.open(done.name, home=place.path)


class Sweep:
    """A sweep in the database of a home. It keeps nothing: every answer is that of the rows at the moment.

    A context, or `close` it, where many are opened.
    """

    def __init__(self, name: str, place: Home) -> None:
        self._place = place
        self._store = Store(place.open())
        self.name = reads.sweep(self._store.database, name).name

    # Reading and opening

    @staticmethod
    def load(path: Path | str) -> SweepFile:
        """The sweep in a YAML file; SpecError for anything that is not right in it."""
        return SweepFile(*read_sweep_file(Path(path)))

    @staticmethod
    def from_dict(content: Mapping[str, Any], *, folder: Path | str = ".") -> SweepFile:
        """The sweep in a mapping, with the words of a sweep file; relative paths in it start at `folder`."""
        try:
            # JSON is YAML: the mapping is read as strictly as a file, and kept as what was submitted.
            text = json.dumps(dict(content), indent=1, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise SpecError(f"the sweep's mapping cannot be written as a file: {error}; give plain values") from error
        source = "the sweep's mapping"
        section = Section(parse_lineless(text, source=source), source)
        return SweepFile(read_sweep(section, Path(folder)), text)

    @staticmethod
    def open(name: str, *, home: Path | str | None = None) -> "Sweep":
        """The submitted sweep of that name; UserError with the names there are."""
        return Sweep(name, _place(home))

    def close(self) -> None:
        self._store.database.close()

    def __enter__(self) -> "Sweep":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Sweep({self.name!r}, home={str(self._place.path)!r})"

    # Looking

    @property
    def state(self) -> SweepState:
        return self._row.state

    @property
    def error(self) -> str | None:
        """Why it is paused or failed."""
        return self._row.error

    @property
    def waits(self) -> str | None:
        """Why it waits although it runs: for the sweep that it comes after, or for labels that no worker has."""
        return waiting.reasons(self._store.database).get(self._row.id)

    def trials(self) -> list[Trial]:
        return reads.trials(self._store.database, self._row.id)

    def trial(self, which: Trial | int | str) -> Trial:
        """A trial by its number, by "T12", or by its whole name."""
        if isinstance(which, Trial):
            which = which.name
        short = f"T{which}" if isinstance(which, int) else which
        name = short if "/" in short else f"{self.name}/{short}"
        found = reads.trial(self._store.database, name)
        if found.sweep_name != self.name:
            raise UserError(f"{found.name} is no trial of {self.name}; open its own sweep")
        return found

    def best(self) -> Best:
        """The first of the ranking, whether the sweep has ended or not; UserError where nothing is measured yet."""
        row, database = self._row, self._store.database
        ranking = reads.ranking(database, row)
        if not ranking:
            raise UserError(f"no trial of {self.name!r} is measured yet; it is {row.state}")
        standing = ranking[0].standing
        trial = self.trial(standing.number)
        model = model_reads.find_model(database, self.name, BEST)
        is_its_own = model is not None and model.stage_run_id == standing.stage_run_id
        return Best(
            trial=trial.name,
            number=trial.number,
            parameters=trial.parameters,
            resolution=standing.resolution,
            values=self._values(standing.values),
            closed_gates=standing.gates,
            model=self._place.files / model.uri if is_its_own else None,
        )

    def trials_dataframe(self) -> "DataFrame":
        """A row a trial, indexed by its number: trial, state, origin, rank, resolution, the metrics, the parameters.

        The metrics are those at the deepest stage that was measured, `resolution` px. Needs pandas.
        """
        try:
            # An optional package, and one that takes half a second to import.
            import pandas
        except ImportError as error:
            raise UserError(
                "trials_dataframe() needs the package pandas, which is not installed; pip install 't2f[dataframe]', "
                "or use trials()"
            ) from error
        ranks = {one.standing.trial_id: one for one in reads.ranking(self._store.database, self._row)}
        rows = []
        for trial in self.trials():
            one = ranks.get(trial.id)
            place = {"rank": one and one.rank, "resolution": one and one.standing.resolution}
            values = self._values(one.standing.values if one else [None] * len(self._metrics))
            who = {"number": trial.number, "trial": trial.name, "state": str(trial.state), "origin": trial.origin}
            rows.append({**who, **place, **values, **trial.parameters})
        parameters = dict.fromkeys(parameter.name for parameter in self._row.resolved.space.parameters)
        columns = ["number", "trial", "state", "origin", "rank", "resolution", *self._metrics, *parameters]
        frame = pandas.DataFrame(rows, columns=columns).set_index("number")
        whole = {"rank": "Int64", "resolution": "Int64"}  # whole numbers, some of them missing
        return frame.astype(whole | dict.fromkeys(self._metrics, "float64"))

    def wait(self, timeout: float | None = None) -> SweepState:
        """Until it has ended, or for so many seconds; its state then. Somebody must train it: `t2f up`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (row := self._row).is_open and (deadline is None or time.monotonic() < deadline):
            time.sleep(LOOK_SECONDS)
        return row.state

    # Acting

    def ask(self) -> Trial | None:
        """The next trial of a sweep that was submitted with own_loop=True; None once nothing is left to try."""
        return own_loop.ask(self._store, self._own)

    def tell(
        self,
        trial: Trial | int | str,
        value: float | Sequence[float] | Mapping[str, float] | None = None,
        *,
        failed: str | None = None,
    ) -> None:
        """How a trial that `ask` gave ended: its value of the metric, of several a list or mapping, or why none.

        Telling the same again does nothing; telling something else is a UserError.
        """
        own_loop.tell(self._store, self._own, self.trial(trial), value, failed=failed)

    def enqueue(self, parameters: Mapping[str, Any]) -> Trial:
        """Add a trial with these parameters; those that are left out are drawn."""
        return self.trial(commands.enqueue_trial(self._store, self._row, parameters))

    def edit(self, **changes: Any) -> commands.Edit:
        """Change it by words of `t2f sweep edit`: edit(**{"budget.max_trials": 40})."""
        return commands.edit_sweep(self._store, self._row, changes, by=getpass.getuser())

    def export(self) -> list[dict[str, Any]]:
        """A row a trial: parameters, states, every figure at every resolution, as `t2f sweep export` writes it."""
        return export_table(self._store.database, self._row)

    def logs(self, trial: Trial | int | str) -> dict[str, Any]:
        """What happened to a trial, as `t2f trial logs --json` has it: attempts and their errors, events, curves."""
        return trial_logs(self._store.database, self._place.path / "logs", self.trial(trial))

    def pause(self) -> None:
        """No new stage runs; what runs goes on."""
        commands.pause_sweep(self._store, self._row)

    def resume(self) -> None:
        commands.resume_sweep(self._store, self._row)

    def stop(self) -> None:
        """Finish and measure what runs, begin nothing more, then end."""
        commands.stop_sweep(self._store, self._row, reason="stopped from Python")

    def cancel(self) -> None:
        """End every open trial; stage runs that nobody else wants are killed."""
        commands.cancel_sweep(self._store, self._row)

    def cancel_trial(self, trial: Trial | int | str) -> None:
        commands.cancel_trial(self._store, self.trial(trial))

    def retry_trial(self, trial: Trial | int | str) -> None:
        """Try a failed or diverged trial again where it broke."""
        commands.retry_trial(self._store, self._row, self.trial(trial))

    def pause_trial(self, trial: Trial | int | str) -> None:
        """No new stage runs for one trial; what it shares goes on for the others."""
        commands.pause_trial(self._store, self.trial(trial))

    def resume_trial(self, trial: Trial | int | str) -> None:
        commands.resume_trial(self._store, self.trial(trial))

    def promote_trial(self, trial: Trial | int | str) -> None:
        """Let a stopped trial go on from where it was sealed; nothing is trained again for it."""
        commands.promote_trial(self._store, self.trial(trial))

    def clone_trial(self, trial: Trial | int | str, values: Mapping[str, Any], *, seed: int | None = None) -> Trial:
        """Add a trial with the same parameters but for these, or another seed."""
        by = getpass.getuser()
        return self._new(commands.clone_trial(self._store, self.trial(trial), values=values, seed=seed, by=by))

    def fork_trial(self, trial: Trial | int | str, resolution: int, values: Mapping[str, Any]) -> Trial:
        """Add a trial on a trial's sealed stage of so many px, with these settings from the next stage on."""
        by = getpass.getuser()
        return self._new(commands.fork_trial(self._store, self.trial(trial), resolution, values=values, by=by))

    def extend_trial(
        self,
        trial: Trial | int | str,
        *,
        images: int | None = None,
        to: int | None = None,
        images_beyond: Sequence[int] = (),
    ) -> Trial:
        """Add a trial that goes on where a complete one ended, or a pruned one was stopped.

        images: of its last stage, more than it had. to: the px of a new last stage; images_beyond: of each stage that
        this adds, or one number for all.
        """
        branch = commands.extend_trial(
            self._store,
            self.trial(trial),
            images=images,
            to=to,
            images_beyond=tuple(images_beyond),
            prepared_to=max(sweep_data(self._place, self._row).resolutions),
            by=getpass.getuser(),
        )
        return self._new(branch)

    def delete(self) -> commands.Deletion:
        """Delete it, ended, with its models and files; stage runs that other sweeps share stay."""
        return commands.delete_sweep(self._store, self._place.files, self._row, by=getpass.getuser())

    def _new(self, branch: commands.Branch) -> Trial:
        assert branch.name is not None, "only a dry run adds none"
        return self.trial(branch.name)

    # What the above is made of

    @property
    def _row(self) -> reads.Sweep:
        return reads.sweep(self._store.database, self.name)

    @property
    def _own(self) -> reads.Sweep:
        row = self._row
        if not row.resolved.own_loop:
            raise UserError(
                f"the sweep {self.name!r} is trained by workers; submit one with own_loop=True to ask for its trials"
            )
        return row

    @property
    def _metrics(self) -> list[str]:
        return [objective.metric for objective in self._row.resolved.objectives]

    def _values(self, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(self._metrics, values, strict=True))


def _place(home: Path | str | None) -> Home:
    """A home: the one given, that of the variable T2F_HOME, or `t2f-home` here."""
    return Home(path=Path(home if home is not None else os.environ.get("T2F_HOME", DEFAULT_HOME)))
