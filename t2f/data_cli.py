"""The commands about data sets: looking at one's own, preparing it, checking it; drawing the demo's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from t2f.clean_cli import ModeOption, RulesOption, chosen_cleaning, clean_command, say_cleaned
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, bar, checked_name, console, ensure_judge, print_json
from t2f.data import (
    FORMATS,
    Content,
    CropOptions,
    PreparedData,
    PrepareOptions,
    Uncaptioned,
    check_source,
    is_prepared_from,
    planned_content,
    prepare,
    recognise,
    render_demo,
)
from t2f.data.demo import check_render
from t2f.data.files import writing
from t2f.data.inspection import Inspection, Spread, inspect
from t2f.errors import DataError
from t2f.evaluate_cli import say_judge
from t2f.pictures import captioned_sheet, png_bytes

data_app = typer.Typer(no_args_is_help=True, help="Data sets: one's own and the demo's.")

FormatOption = Annotated[
    str | None, typer.Option("--format", help=f"Default: found by itself. One of {', '.join(FORMATS)}, or a plugin's.")
]
data_app.command("clean")(clean_command)
_NAMED = 5  # problems of one kind that are printed; --json has twenty


@data_app.command("render-demo")
def render_demo_command(
    out: Annotated[Path, typer.Argument(help="Folder for the pictures and metadata.jsonl.")],
    count: Annotated[int, typer.Option(help="Number of faces.")] = 7000,
    seed: Annotated[int, typer.Option(help="Other seeds draw other combinations.")] = 0,
    dry_run: DryRun = False,
) -> None:
    """Draw cartoon faces with exactly known attributes and several descriptions each."""
    if dry_run:
        check_render(out, count=count, seed=seed)
        console.print(f"would draw {count} faces of 64 px with seed {seed} into {out}")
        return
    with bar("drawing faces") as progress:
        summary = render_demo(out, count=count, seed=seed, progress=progress)
    splits = ", ".join(f"{size} {split}" for split, size in summary.split_sizes.items())
    there = "were there already" if summary.reused else "drawn"
    console.print(f"{out}: {summary.count} faces {there} ({splits}), {summary.captions} captions, seed {summary.seed}")


@data_app.command("inspect")
def inspect_command(
    source: Annotated[Path, typer.Argument(help="Folder that holds the data set.")],
    format: FormatOption = None,
    crop: Annotated[str | None, typer.Option(help="Crop on the sheet, as in `t2f data prepare`.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="A PNG to write: pictures from all over, captions below.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a data set holds and what is wrong with it; every picture is decoded, nothing is prepared."""
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise DataError(f"--sheet {sheet} is not allowed; give a file that ends in .png")
    options = PrepareOptions(crop=CropOptions.parse(crop) if crop else None)
    with bar("looking at pictures", quiet=as_json) as progress:
        found = inspect(source, format=format, options=options, progress=progress)
    if sheet is not None and found.sheet:
        write_sheet(found, sheet)
    if as_json:
        print_json(found.to_json())
        return
    say_inspection(found, source)
    if sheet is not None:
        console.print(f"{sheet}: {len(found.sheet)} pictures" if found.sheet else "no picture opens: no sheet written")


def write_sheet(found: Inspection, sheet: Path) -> None:
    tiles, captions = zip(*found.sheet, strict=True)
    picture = captioned_sheet(np.stack(tiles), [shortened(caption) for caption in captions], columns=8, enlarge=1)
    with writing(sheet):
        sheet.parent.mkdir(parents=True, exist_ok=True)
        sheet.write_bytes(png_bytes(picture))


def shortened(caption: str) -> str:
    return caption if len(caption) <= 90 else caption[:87] + "..."


def say_inspection(found: Inspection, source: Path) -> None:
    console.print(f"{source}: format {found.format}, because {found.why}")
    each = (
        f", {found.captions:,} captions,{spread(found.captions_per_image)} each" if found.captions else ", no captions"
    )
    console.print(f"images     {found.images:,}{each}")
    if found.vocabulary is not None:
        words = found.vocabulary
        console.print(f"captions   words{spread(found.caption_words)}; {found.long_captions} have more than 100")
        console.print(
            f"vocabulary {words.words:,} different words, {words.once:,} of them once; {words.tokens:,} in all"
        )
        console.print(f"  common   {', '.join(f'{word} {count}' for word, count in words.common)}")
        if words.rare:
            console.print(f"  once     {', '.join(words.rare)}")
    splits = ", ".join(f"{count:,} {split}" for split, count in found.splits.items())
    console.print(
        f"splits     {splits} ({'the source names them' if found.official_splits else 'by hash of the name'})"
    )
    if found.identities:
        console.print(f"people     {found.identities:,}")
    if found.attributes:
        console.print(f"attributes {found.attributes} an image")
    if found.modes:
        modes = ", ".join(f"{count:,} {mode}" for mode, count in found.modes.items())
        console.print(f"pictures   width{spread(found.widths)}, height{spread(found.heights)} px; {modes}")
    else:
        console.print("pictures   none opens")
    if not found.problems:
        console.print("problems   none found")
    for problem in found.problems:
        console.print(f"problem    {problem.kind}: {problem.count:,}")
        for message in problem.examples[:_NAMED]:
            console.print(f"  {message}")
        if problem.count > _NAMED:
            console.print(f"  and {problem.count - _NAMED:,} more")


def spread(values: Spread | None) -> str:
    if values is None:
        return ""
    if values.lowest == values.highest:
        return f" {values.lowest:,}"
    return f" {values.lowest:,} to {values.highest:,} (median {values.median:g})"


@data_app.command("prepare")
def prepare_command(
    source: Annotated[Path, typer.Argument(help="Folder that holds the data set.")],
    format: FormatOption = None,
    name: Annotated[str | None, typer.Option(help="Name for sweep files; default: the folder's.")] = None,
    resolution: Annotated[int, typer.Option(help="Largest resolution in px.")] = 64,
    crop: Annotated[str | None, typer.Option(help="square, lfw, centre:PIXELS or fraction:SHARE.")] = None,
    uncaptioned: Annotated[
        Path | None, typer.Option(help="Folder of further pictures, without captions; all are for training.")
    ] = None,
    uncaptioned_crop: Annotated[
        str | None, typer.Option(help="Crop of those pictures; default: that of the others.")
    ] = None,
    on_bad_image: Annotated[str, typer.Option(help="fail or skip.")] = "fail",
    clean: ModeOption = "off",
    clean_rules: RulesOption = None,
    validation: Annotated[float, typer.Option(help="Share held out for choosing (source without splits).")] = 0.1,
    test: Annotated[float, typer.Option(help="Share held out for the end (source without splits).")] = 0.1,
    split_seed: Annotated[int, typer.Option(help="Another number holds out other images.")] = 0,
    judge_steps: Annotated[int, typer.Option(min=3, help="Training steps of the judge.")] = 600,
    replace: Annotated[bool, typer.Option(help="Replace a prepared data set of this name.")] = False,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
) -> None:
    """Read a data set, write its cache for every resolution, and train the judge on it; interrupted, it goes on."""
    options = PrepareOptions(
        max_resolution=resolution,
        crop=CropOptions.parse(crop) if crop else None,
        on_bad_image=on_bad_image,
        cleaning=chosen_cleaning(clean, clean_rules),
        validation_fraction=validation,
        test_fraction=test,
        split_seed=split_seed,
    )
    if uncaptioned_crop and uncaptioned is None:
        raise DataError(
            f"--uncaptioned-crop {uncaptioned_crop} is given without --uncaptioned; give the folder of those pictures, "
            "or crop the source's with --crop"
        )
    crop_of_further = CropOptions.parse(uncaptioned_crop) if uncaptioned_crop else None
    further = None if uncaptioned is None else Uncaptioned(folder=uncaptioned, crop=crop_of_further)
    out = home / "data" / checked_name(name or source.resolve().name)
    if format is None:
        recognised, why = recognise(source)
        format = recognised.name
        console.print(f"format {format}, because {why}")
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
    say_judge(data)


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
    if "cleaning" in data.manifest:
        say_cleaned(data.manifest["cleaning"])
    if data.manifest["skipped"]:
        console.print(f"skipped: {len(data.manifest['skipped'])} images that cannot be used")
    console.print(f"in {data.path}")


def say_uncaptioned(counts: Mapping[str, int]) -> None:
    console.print(
        f"for training without captions: {counts['used']} of {counts['found']} pictures; left out: "
        f"{counts['same_content']} that are images of the source, {counts['same_name']} that are named like one"
    )


@data_app.command("check")
def check_command(
    name: Annotated[str, typer.Argument(help="A prepared data set of the home.")],
    source: Annotated[Path | None, typer.Option(help="Where the source lies now; default: where it was.")] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the prepared files too, against their hashes.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
) -> None:
    """Say whether a source is still what was prepared from it; only files whose size or time changed are read."""
    data = PreparedData.open(home / "data" / checked_name(name))
    check_source(data.path, source=source)
    if verify:
        data.verify()
    if as_json:
        print_json({"name": data.name, "key": data.key, "format": data.manifest["format"], "unchanged": True})
        return
    console.print(f"{data.name}: the source is what was prepared, key {data.key[:12]}")
