"""The command `t2f progan`: a ProGAN from any folder of pictures, without captions and without a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from t2f.cli import DryRun, bar, console, train_with_bars
from t2f.errors import SpecError
from t2f.progan import Plan, ProGAN, check_compute
from t2f.threads import quiet_threads
from t2f.trainfile import read_override

progan_app = typer.Typer(no_args_is_help=True, help="Pictures without words: a ProGAN from any folder of them.")


@progan_app.command("train")
def progan_train_command(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures; folders in it count too.")],
    depth: Annotated[int, typer.Option(help="Number of resolutions: 1 is 4 px, 6 is 4 to 128 px, 9 is 4 to 1024 px.")],
    features: Annotated[int, typer.Option(help="Most feature maps of a layer, and size of the latent.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for data, stages, samples and the model; default: progan/NAME."),
    ] = None,
    kimg: Annotated[
        str | None, typer.Option(help="Thousands of images a stage: one number, or a comma list; default: by FOLDER.")
    ] = None,
    batch: Annotated[str | None, typer.Option(help="Images a step: one number, or a comma list.")] = None,
    set_values: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, several times.")] = None,
    seed: Annotated[int, typer.Option(help="Of weights, noise and the order of pictures.")] = 0,
    crop: Annotated[str, typer.Option(help="square, centre:PIXELS or fraction:SHARE.")] = "square",
    on_bad_image: Annotated[str, typer.Option(help="fail or skip.")] = "fail",
    threads: Annotated[int, typer.Option(help="CPU threads; another number gives other bits.")] = 1,
    devices: Annotated[int, typer.Option(help="GPUs, or CPU processes, that share every batch.")] = 1,
    checkpoint_seconds: Annotated[float, typer.Option(help="Seconds between checkpoints.")] = 30.0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write curves to OUT/tensorboard.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Train a ProGAN, stage by stage, on a folder of pictures; an interrupted training goes on where it was."""
    gan = ProGAN(
        depth=depth,
        features=features,
        kimg=None if kimg is None else numbers("--kimg", kimg, float),
        batch=None if batch is None else numbers("--batch", batch, int),
        seed=seed,
        crop=crop,
        on_bad_image=on_bad_image,
        settings=dict(map(read_override, set_values or [])),
    )
    out = out or Path("progan") / folder.resolve().name
    plan = gan.plan(folder, out=out)
    say_plan(plan)
    if dry_run:
        return
    quiet_threads()
    check_compute(plan.stages, threads=threads, devices=devices)
    with bar("preparing images") as progress:
        data = gan.prepare(plan, progress=progress)
    request = gan.request(
        data, out=out, threads=threads, checkpoint_seconds=checkpoint_seconds, tensorboard=tensorboard
    )
    # Reading and refusing need not wait for torch.
    from t2f.ranks import run_on_ranks

    run_on_ranks(train_with_bars, devices, request)
    model = out / "model.safetensors"
    console.print(f"{model}: try  t2f generate {model} --seeds 0-15")


def numbers(option: str, text: str, kind: Callable[[str], Any]) -> Any:
    """One number, or the tuple of a comma list; SpecError for anything else."""
    try:
        given = tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise SpecError(f"{option} {text!r} is not allowed; give one number, or a comma list of one a stage") from None
    return given[0] if len(given) == 1 else given


def say_plan(plan: Plan) -> None:
    held_out = plan.pictures - plan.training_pictures
    console.print(f"{plan.out}: {plan.training_pictures} pictures for training, {held_out} held out to measure with")
    for stage in plan.stages:
        console.print(
            f"{stage.resolution:4d} px  {stage.images:>9,} images, {stage.fade_images:,} fading in, "
            f"{stage.batch} a step, {stage.features[-1]} feature maps"
        )
