"""The commands that need no scheduler: preparing data, training one run, drawing faces."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from t2f.data import (
    Content,
    CropOptions,
    PreparedData,
    PrepareOptions,
    Uncaptioned,
    is_prepared_from,
    planned_content,
    prepare,
    render_demo,
)
from t2f.errors import DataError, SpecError, UserError
from t2f.probe import NO_JUDGE
from t2f.spec import SentenceSpec
from t2f.threads import quiet_threads
from t2f.trainfile import read_training_file

if TYPE_CHECKING:
    from t2f.ranks import Ranks
    from t2f.train import TrainingRequest

data_app = typer.Typer(no_args_is_help=True, help="Data sets: drawing the demo's, preparing one's own.")

console = Console(highlight=False, soft_wrap=True)

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
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar as a function of (done, total); silent lines where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=None)

        def update(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield update
    if not console.is_terminal:
        console.print(f"{description}: done")


@data_app.command("render-demo")
def render_demo_command(
    out: Annotated[Path, typer.Argument(help="Folder for the pictures and metadata.jsonl.")],
    count: Annotated[int, typer.Option(help="Number of faces.")] = 7000,
    seed: Annotated[int, typer.Option(help="Other seeds draw other combinations.")] = 0,
    dry_run: DryRun = False,
) -> None:
    """Draw cartoon faces with exactly known attributes and several descriptions each."""
    if dry_run:
        console.print(f"would draw {count} faces of 64 px with seed {seed} into {out}")
        return
    with bar("drawing faces") as progress:
        summary = render_demo(out, count=count, seed=seed, progress=progress)
    console.print(f"{out}: {summary}")


@data_app.command("prepare")
def prepare_command(
    source: Annotated[Path, typer.Argument(help="Folder that holds the data set.")],
    format: Annotated[
        str, typer.Option(help="imagefolder, face2text, or folder: pictures without captions.")
    ] = "imagefolder",
    name: Annotated[str | None, typer.Option(help="Name for sweep files; default: the folder's.")] = None,
    resolution: Annotated[int, typer.Option(help="Largest resolution in px.")] = 64,
    crop: Annotated[str | None, typer.Option(help="square, centre:PIXELS or fraction:SHARE.")] = None,
    uncaptioned: Annotated[
        Path | None, typer.Option(help="Folder of further pictures, without captions; all are for training.")
    ] = None,
    uncaptioned_crop: Annotated[
        str | None, typer.Option(help="Crop of those pictures; default: that of the others.")
    ] = None,
    on_bad_image: Annotated[str, typer.Option(help="fail or skip.")] = "fail",
    judge_steps: Annotated[int, typer.Option(help="Training steps of the judge.")] = 600,
    replace: Annotated[bool, typer.Option(help="Replace a prepared data set of this name.")] = False,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
) -> None:
    """Read a data set, write its cache for every resolution, and train the judge on it."""
    options = PrepareOptions(
        max_resolution=resolution, crop=CropOptions.parse(crop) if crop else None, on_bad_image=on_bad_image
    )
    if uncaptioned_crop and uncaptioned is None:
        raise DataError(
            f"--uncaptioned-crop {uncaptioned_crop} is given without --uncaptioned; give the folder of those pictures, "
            "or crop the source's with --crop"
        )
    crop_of_further = CropOptions.parse(uncaptioned_crop) if uncaptioned_crop else None
    further = None if uncaptioned is None else Uncaptioned(folder=uncaptioned, crop=crop_of_further)
    name = name or source.resolve().name
    out = home / "data" / checked_name(name)
    if dry_run:
        say_planned(
            planned_content(source, format=format, out=out, options=options, uncaptioned=further, replace=replace), out
        )
        return
    with bar("preparing images") as progress:
        data = prepare(
            source, format=format, out=out, options=options, uncaptioned=further, replace=replace, progress=progress
        )
    say_prepared(data, ensure_judge(data, steps=judge_steps))


def say_planned(content: Content, out: Path) -> None:
    captions = sum(len(example.captions) for example in content.source.examples)
    console.print(f"would prepare {len(content.source.examples)} images with {captions or 'no'} captions into {out}")
    if content.uncaptioned is not None:
        say_uncaptioned({"used": len(content.uncaptioned.examples), **content.counts})
    if is_prepared_from(out, content):
        console.print("it holds them already: nothing would be done")


def say_prepared(data: PreparedData, judge_sha256: str) -> None:
    splits = ", ".join(f"{data.split(split).size} {split}" for split in ("train", "validation", "test"))
    words = f"{len(data.vocabulary)} words" if data.has_captions else "no captions"
    judge = f"judge {judge_sha256[:12]}" if data.has_captions else "no judge"
    console.print(f"{data.name}: {splits} images, {words}, key {data.key[:12]}, {judge}")
    if "uncaptioned" in data.manifest:
        say_uncaptioned(data.manifest["uncaptioned"])
    if data.manifest["skipped"]:
        console.print(f"skipped: {len(data.manifest['skipped'])} images that cannot be used")
    console.print(f"in {data.path}")


def say_uncaptioned(counts: Mapping[str, int]) -> None:
    console.print(
        f"for training without captions: {counts['used']} of {counts['found']} pictures; left out: "
        f"{counts['same_content']} that are images of the source, {counts['same_name']} that are named like one"
    )


def checked_name(name: str) -> str:
    """A data set's or sweep's name that is safe as a folder's and in an address."""
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name[0] in "-." or len(name) > 100:
        raise SpecError(f"the name {name!r} is not allowed; use up to 100 letters, digits, '-', '_' and '.'")
    return name


def ensure_judge(data: PreparedData, *, steps: int) -> str:
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
        with bar("training the judge") as progress:
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


def embed_captions(data: PreparedData, where: str) -> SentenceSpec:
    """The sentence encoder at this place, once the embeddings of all captions of the data are kept with it."""
    # Only trainings with this encoder wait for torch here.
    from t2f.data.readers import SPLITS
    from t2f.sentence import SentenceEncoder, find_sentence_encoder, split_embeddings

    encoder = SentenceEncoder.open(find_sentence_encoder(where))
    with bar("reading captions") as progress:
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
            score = done.evaluation.metrics["score"]
            console.print(
                f"{done.resolution} px: score {score.value:.3f} ({score.low:.3f} to {score.high:.3f}), "
                f"{done.seconds:.0f} s, weights {done.weights_sha256[:16]}"
            )

        train(
            request,
            ranks=ranks,
            progress=lambda stage, position, speed: progress.update(
                tasks[stage.resolution], completed=position.images_seen, speed=f"{speed:.0f} images/s"
            ),
            stage_done=stage_done,
        )


def generate_command(
    model: Annotated[Path, typer.Argument(help="A model bundle.")],
    sentences: Annotated[
        list[str] | None, typer.Argument(help="Descriptions of faces; none for a model without words.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")] = Path("faces.png"),
    seeds: Annotated[str, typer.Option(help="For example 0, 0-7 or 1,5,9.")] = "0",
    truncation: Annotated[float, typer.Option(help="0 to 1: nearer to the average face when small.")] = 1.0,
    dry_run: DryRun = False,
) -> None:
    """Draw faces from sentences with a trained model, the sentence under each."""
    numbers = parse_seeds(seeds)
    if not model.exists():
        raise UserError(f"{model} does not exist; give a model bundle, such as the one that `t2f best SWEEP` names")
    sentences = sentences or [""]
    if dry_run:
        console.print(f"would draw {len(sentences) * len(numbers)} faces with {model} into {out}")
        return
    # Importing torch takes a second that refusing need not wait for.
    from t2f.generate import open_bundle
    from t2f.pictures import captioned_sheet, png_bytes, wall

    bundle = open_bundle(model)
    for sentence in sentences:
        for word, near in bundle.unknown_words(sentence).items():
            hint = f"; the nearest word it knows is {near!r}" if near else ""
            console.print(f"the model never read {word!r}{hint}")
    images = bundle.draw(sentences, seeds=numbers, truncation=truncation)
    columns = len(numbers) if len(numbers) > 1 else 4
    if bundle.reads_words:
        sheet = captioned_sheet(images, [sentence for sentence in sentences for _ in numbers], columns=columns)
    else:
        sheet = wall(images, columns=min(8, len(images)))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(png_bytes(sheet))
    console.print(f"{out}: {len(images)} faces of {bundle.resolution} px")


def parse_seeds(text: str) -> list[int]:
    """Numbers from "0", "0-7" or "1,5,9"; SpecError for anything else."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or len(first) > 10 or len(last) > 10:
            raise SpecError(f"--seeds {text!r} is not allowed; give numbers such as 0, 0-7 or 1,5,9")
        end = int(last or first)
        if not 0 <= end - int(first) < 1024:
            raise SpecError(f"--seeds {part!r} is not allowed; a range goes up and holds at most 1024 numbers")
        numbers += range(int(first), end + 1)
    return numbers
