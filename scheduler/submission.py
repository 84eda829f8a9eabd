"""From a sweep that was read to its rows: its data checked, its judge trained, the model it starts from kept."""

from dataclasses import dataclass, replace

from scheduler import submitting, telling, waiting
from scheduler.forecast import Forecast
from scheduler.home import Home
from scheduler.store import Store
from scheduler.sweepfile import ResolvedSweep, SweepSpec
from t2f.cli import checked_name, embed_captions, ensure_judge
from t2f.data import PreparedData, check_source
from t2f.data.prepared import is_prepared
from t2f.errors import SpecError

JUDGE_STEPS = 600


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What was submitted, or would be."""

    name: str
    tree: submitting.Tree
    notes: list[str]  # that should be said beside the tree
    forecast: Forecast


def submit_spec(
    spec: SweepSpec,
    text: str,
    place: Home,
    *,
    name: str | None = None,
    as_prepared: bool = False,
    dry_run: bool = False,
    own_loop: bool = False,
    quiet: bool = False,
) -> Submission:
    """Store a sweep in a home; a dry run writes nothing. UserError for what does not fit together.

    name: instead of the file's. as_prepared: train on the data as it was prepared, though its source changed.
    own_loop: somebody else trains it. quiet: without bars.
    """
    data = open_data(place, spec.dataset)
    if not as_prepared:
        check_source(data.path, missing_ok=True)
    # A dry run trains no judge; any hash stands for the one to come, but data without captions will have none.
    trains_judge = not dry_run or not data.has_captions
    judge = ensure_judge(data, steps=JUDGE_STEPS, quiet=quiet) if trains_judge else "0" * 64
    resolved = spec.resolve(data, judge)
    name = checked_name(name or spec.name)
    warm = None
    if resolved.search.warm_start is not None:
        database = submitting.existing_database(place)
        if database is None:
            raise SpecError(
                f"warm_start: there is no sweep {resolved.search.warm_start!r}; {place.path} holds none yet"
            )
        rows, results = telling.warm_start(database, resolved)
        warm = (len(rows), results)
    init = open_init(spec, resolved, data, place)
    if dry_run:
        database = submitting.existing_database(place)
        submitting.require_after(database, resolved)
        tree = submitting.tree_in(database, resolved, submitting.expected_trials(resolved))
        return _submission(place, resolved, name, tree, warm)
    sentence = None
    if "sentence" in resolved.space.text_encoders:
        sentence = embed_captions(data, spec.sentence_encoder, quiet=quiet)
    resolved = spec.resolve(data, judge, init_sha256=init and init.sha256, sentence=sentence)
    resolved = replace(resolved, own_loop=own_loop)
    store = Store(place.create())
    tree = submitting.submit_sweep(store, resolved, name=name, submitted=text, data_name=spec.dataset, init=init)
    return _submission(place, resolved, name, tree, warm)


def open_data(place: Home, name: str) -> PreparedData:
    """The prepared data set of that name; SpecError with those there are."""
    path = place.data / checked_name(name)
    if not is_prepared(path):
        folders = sorted(place.data.iterdir()) if place.data.is_dir() else []
        known = ", ".join(one.name for one in folders if is_prepared(one)) or "none yet"
        raise SpecError(
            f"data: dataset = {name!r} is no prepared data set of {place.path}; prepared: {known}. "
            f"Run t2f data prepare SOURCE --name {name}, or name another"
        )
    return PreparedData.open(path)


def _submission(
    place: Home, resolved: ResolvedSweep, name: str, tree: submitting.Tree, warm: tuple[int, int] | None
) -> Submission:
    labels_note = waiting.labels_note(submitting.existing_database(place), resolved.resources.labels)
    return Submission(
        name=name,
        tree=tree,
        notes=submitting.notes(resolved, tree, warm) + ([] if labels_note is None else [labels_note]),
        forecast=submitting.forecast_sweep(place, resolved, tree),
    )


def open_init(
    spec: SweepSpec, resolved: ResolvedSweep, data: PreparedData, place: Home
) -> submitting.InitBundle | None:
    """The model that the sweep starts from; an error where it is none, or one whose shapes no trial has."""
    if spec.init_from is None:
        return None
    # Only sweeps that start from a model wait for torch here.
    from t2f.generate import init_weights, open_bundle

    bundle = open_bundle(spec.init_from)
    for trial in submitting.expected_trials(resolved):
        init_weights(bundle, data.vocabulary, resolved.space.stages(trial.parameters)[0].settings)
    return submitting.InitBundle(path=spec.init_from, sha256=bundle.sha256, files=place.files)
