"""The commands that need no scheduler: training one run, drawing faces. `t2f/data_cli.py` has those about data."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from t2f.data import PreparedData
from t2f.errors import DataError, SpecError
from t2f.probe import NO_JUDGE
from t2f.spec import SentenceSpec
from t2f.threads import quiet_threads
from t2f.trainfile import read_training_file

if TYPE_CHECKING:
    from t2f.metrics.figures import Figure
    from t2f.ranks import Ranks
    from t2f.train import TrainingRequest

# Names of files and captions may hold what Rich takes for markup, such as [/b]: it is off unless a line asks for it.
console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)

HomeOption = Annotated[
    Path,
    typer.Option("--home", envvar="T2F_HOME", help="Folder of prepared data, database and files.", show_default=True),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]

DEFAULT_HOME = Path("t2f-home")


def print_json(value: object) -> None:
    print(json.dumps(value, indent=1))


@contextmanager
def bar(description: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a function of (done, total); one line where there is no terminal, nothing where quiet."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task(description, total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield update
    if not quiet and not console.is_terminal:
        console.print(f"{description}: done")


def checked_name(name: str) -> str:
    """A data set's or sweep's name that is safe as a folder's and in an address."""
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name[0] in "-." or len(name) > 100:
        raise SpecError(f"the name {name!r} is not allowed; use up to 100 letters, digits, '-', '_' and '.'")
    return name


def ensure_judge(data: PreparedData, *, steps: int, quiet: bool = False) -> str:
    """The SHA-256 of the data set's judge, trained now if there is none; NO_JUDGE for data without captions."""
    if not data.has_captions:
        return NO_JUDGE
    quiet_threads()
    # Importing torch takes a second that reading and refusing need not wait for.
    import torch

    from t2f.judge import JudgeOptions, load_judge, save_judge, train_judge

    try:
        return load_judge(data)[1]
    except DataError:
        logging.getLogger(__name__).info("no judge yet for %s", data.name)
    threads = torch.get_num_threads()
    try:
        options = JudgeOptions(steps=steps)
        with bar("training the judge", quiet=quiet) as progress:
            return save_judge(train_judge(data, options=options, progress=progress), data, options=options)
    finally:
        torch.set_num_threads(threads)


def train_command(
    file: Annotated[Path, typer.Argument(help="A training file: a sweep file whose parameters are constants.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for stages, samples and the model.")],
    set_values: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, several times.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; another number gives other bits.")] = 1,
    devices: Annotated[int, typer.Option(help="GPUs, or CPU processes, that share every batch.")] = 1,
    checkpoint_seconds: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 30.0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write curves to OUT/tensorboard.")] = False,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
) -> None:
    """Train one model, stage by stage, without a scheduler; an interrupted training goes on where it was."""
    training = read_training_file(file, set_values or [])
    data = PreparedData.open(home / "data" / checked_name(training.dataset))
    stages = training.training(data).stages()
    if dry_run:
        for stage in stages:
            console.print(f"{stage.resolution:4d} px  {stage.images:>9,} images, {stage.fade_images:,} fading in")
        return
    quiet_threads()
    # Importing torch takes a second that reading and refusing need not wait for.
    from t2f.device import require_devices
    from t2f.generate import open_bundle
    from t2f.judge import load_judge
    from t2f.ranks import Ranks, run_on_ranks
    from t2f.train import TrainingRequest

    require_devices(devices)
    for stage in stages:
        Ranks(size=devices).rows(stage)  # refuses a batch that cannot be shared before anything starts
    init_sha256 = None if training.init_from is None else open_bundle(training.init_from).sha256
    sentence = None
    if any(stage.settings.text.encoder == "sentence" for stage in stages):
        sentence = embed_captions(data, training.sentence_encoder)
    request = TrainingRequest(
        spec=training.training(data, init_sha256=init_sha256, sentence=sentence),
        data=data.path,
        out=out,
        threads=threads,
        probe=training.probe.evaluation(data, load_judge(data)[1]),
        checkpoint_seconds=checkpoint_seconds,
        init_from=training.init_from,
        tensorboard=tensorboard,
    )
    run_on_ranks(train_with_bars, devices, request)
    console.print(f'{out / "model.safetensors"}: try  t2f generate {out / "model.safetensors"} "..."')


def embed_captions(data: PreparedData, where: str, *, quiet: bool = False) -> SentenceSpec:
    """The sentence encoder at this place, once the embeddings of all captions of the data are kept with it."""
    # Only trainings with this encoder wait for torch here.
    from t2f.data.readers import SPLITS
    from t2f.sentence import SentenceEncoder, find_sentence_encoder, split_embeddings

    encoder = SentenceEncoder.open(find_sentence_encoder(where))
    with bar("reading captions", quiet=quiet) as progress:
        for split in SPLITS:
            split_embeddings(data, split, encoder, progress=progress)
    return encoder.spec(where)


def train_with_bars(ranks: "Ranks", request: "TrainingRequest") -> None:
    """One device's part of a training; the first one shows a bar for each stage."""
    # As above: this module starts without torch.
    from t2f.train import TrainedStage, train

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal or ranks.rank != 0) as progress:
        tasks = {
            stage.resolution: progress.add_task(f"{stage.resolution} px", total=stage.images, speed="")
            for stage in request.spec.stages()
        }

        def stage_done(done: TrainedStage) -> None:
            progress.update(tasks[done.resolution], completed=progress.tasks[tasks[done.resolution]].total)
            score = done.metrics["score"]
            interval = "" if score.low is None else f" ({score.low:.3f} to {score.high:.3f})"
            console.print(
                f"{done.resolution} px: score {score.value:.3f}{interval}, "
                f"{done.seconds:.0f} s, weights {done.weights_sha256[:16]}{judged(done.metrics)}"
            )

        train(
            request,
            ranks=ranks,
            progress=lambda stage, position, speed: progress.update(
                tasks[stage.resolution], completed=position.images_seen, speed=f"{speed:.0f} images/s"
            ),
            stage_done=stage_done,
        )


def judged(metrics: "Mapping[str, Figure]") -> str:
    """How far to trust the judge, and which gates are closed: to be said beside a score."""
    judge, gates = metrics.get("judge_r_precision"), metrics.get("closed_gates")
    said = "" if judge is None else f"; judge's R-precision on real pairs {judge.value:.3f}, {judge.note}"
    return said if gates is None or not gates.note else f"{said}; gates closed: {gates.note}"
