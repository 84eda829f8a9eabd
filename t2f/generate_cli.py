"""The commands that use a model: `t2f generate`, `t2f card`, `t2f timelapse`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from t2f.card import card_text, read_card
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, bar, console, print_json
from t2f.data.files import writing
from t2f.errors import SpecError, UserError
from t2f.recipe import Recipe, read_recipe, same_pixels, stamped_png
from t2f.threads import quiet_threads
from t2f.typed import edited, read_captions, tidy_sentence

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from t2f.generate import Bundle
    from t2f.timelapse import Growth

COLUMNS = 8  # faces beside each other, at most


class Known(Protocol):
    """What a word may name that is no file; the scheduler's command line brings it as the context's object."""

    def model_file(self, name: str, home: Path) -> Path: ...

    def growth(self, name: str, home: Path) -> "Growth": ...


ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model bundle, a training's folder, SWEEP, TRIAL.")
]


def say(text: str) -> None:
    """A line as it is: sentences may hold what a terminal's markup would take for its own."""
    console.print(text, markup=False, emoji=False)


def model_file(context: typer.Context, name: str, home: Path) -> Path:
    """The bundle that the word means: a file, the folder of a training, or what the scheduler knows by that name."""
    path = bundle_file(name)
    if path is not None:
        return path
    known: Known | None = context.obj
    if known is None:
        raise missing_bundle(Path(name))
    with naming_the_folder(name):
        return known.model_file(name, home)


@contextmanager
def naming_the_folder(name: str) -> Iterator[None]:
    """Where the word is no name either, but a folder: an error in this block also says what that folder lacks."""
    try:
        yield
    except UserError as error:
        if not Path(name).is_dir():
            raise
        raise UserError(
            f"{error}. The folder {name} holds no model.safetensors, which a training leaves at its end"
        ) from error


def bundle_file(name: str) -> Path | None:
    """The file, or that in the folder of a training; None where the word may be a sweep's, a trial's or a version's.

    `t2f demo` leaves a folder demo beside its sweep demo: a folder without a model does not hide the sweep.
    """
    path = Path(name)
    inside = path / "model.safetensors"
    if path.is_dir() and inside.exists():
        return inside
    if path.is_file():
        return path
    if path.suffix == ".safetensors":
        raise missing_bundle(path)
    return None


def missing_bundle(path: Path) -> UserError:
    return UserError(f"{path} does not exist; give a model bundle, such as the one that `t2f best SWEEP` names")


# Drawing


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be drawn."""

    sentences: tuple[str, ...]
    seeds: tuple[int, ...]
    truncation: float
    enlarge: int | None  # None: as is best to look at

    def __post_init__(self) -> None:
        if self.enlarge is not None and not 1 <= self.enlarge <= 64:
            raise SpecError(f"--enlarge {self.enlarge} is not allowed; it must be from 1 to 64")
        if not 0 <= self.truncation <= 1:
            raise SpecError(f"--truncation {self.truncation:g} is not allowed; it must be a number from 0 to 1")

    @property
    def faces(self) -> int:
        return len(self.sentences) * len(self.seeds)


def generate_command(
    context: typer.Context,
    model: ModelArgument,
    sentences: Annotated[
        list[str] | None, typer.Argument(help="Descriptions of faces; none for a model without words.")
    ] = None,
    captions: Annotated[Path | None, typer.Option(help="Text file of further sentences, one a line.")] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The PNG to write; with --interpolate an .mp4 or .gif.")
    ] = Path("faces.png"),
    seeds: Annotated[str, typer.Option(help="For example 0, 0-7 or 1,5,9.")] = "0",
    truncation: Annotated[float, typer.Option(help="0 to 1: nearer to the average face when small.")] = 1.0,
    edit: Annotated[list[str] | None, typer.Option("--edit", help="OLD=NEW words, several times.")] = None,
    interpolate: Annotated[str | None, typer.Option(help="captions or seeds: a video from one to the next.")] = None,
    frames: Annotated[int, typer.Option(help="Frames of the video.")] = 90,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 20.0,
    enlarge: Annotated[int | None, typer.Option(help="Px for each px; default: faces of about 192 px.")] = None,
    each: Annotated[Path | None, typer.Option(help="Folder for every face as a PNG of its own.")] = None,
    from_png: Annotated[Path | None, typer.Option(help="A PNG of this command: draw it again, bit for bit.")] = None,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
) -> None:
    """Draw faces from sentences with a trained model, the sentence under each."""
    refuse_ignored(context, from_png=from_png, interpolate=interpolate)
    numbers = tuple(parse_seeds(seeds))
    texts = wished_sentences(sentences or [], captions, edit or [])
    wish = Wish(sentences=texts, seeds=numbers, truncation=truncation, enlarge=enlarge)
    allowed = (".mp4", ".gif") if interpolate else (".png",)
    if out.suffix.lower() not in allowed:
        raise SpecError(f"-o {out} is not allowed; let it end in {' or '.join(allowed)}")
    recipe = None if from_png is None else read_recipe(from_png)
    path = model_file(context, model, home)
    quiet_threads()
    # Importing torch takes a second that refusing need not wait for.
    from t2f.generate import open_bundle

    bundle = open_bundle(path)
    if recipe is not None:
        check_recipe(bundle, recipe, from_png)
        what, write = f"{from_png} again", partial(repeat, bundle, recipe, from_png, out)
    elif interpolate is not None:
        steps = walk_steps(bundle, wish, interpolate, out, frames=frames, fps=fps)
        what, write = f"{frames} frames", partial(write_walk, bundle, wish, steps, out, frames=frames, fps=fps)
    else:
        bundle.check_draw(texts, numbers)
        what, write = f"{wish.faces} faces", partial(draw, bundle, wish, out, each, side_by_side=bool(edit))
    if recipe is None:
        say_unknown(bundle, texts)
    if dry_run:
        say(f"would draw {what} with {path} into {out}")
    else:
        write()


WAYS = ("captions", "seeds")  # of --interpolate
_SAID_BY_THE_PNG = ("sentences", "captions", "seeds", "truncation", "edit", "interpolate", "enlarge", "each")
_OF_VIDEOS = ("frames", "fps")


def refuse_ignored(context: typer.Context, *, from_png: Path | None, interpolate: str | None) -> None:
    """SpecError for an option that would change nothing beside the others, and for a way that does not exist."""
    # Sentences count as given by the command line even where there are none.
    given = [
        name
        for name, value in context.params.items()
        if value not in (None, (), []) and str(context.get_parameter_source(name)).endswith("COMMANDLINE")
    ]
    if interpolate is not None and interpolate not in WAYS:
        raise SpecError(f"--interpolate {interpolate!r} is not allowed; give {' or '.join(WAYS)}")
    if from_png is not None:
        ignored, why = (*_SAID_BY_THE_PNG, *_OF_VIDEOS), "a picture says itself what is drawn"
    elif interpolate is not None:
        ignored, why = ("each",), "a video has no faces of its own to write"
    else:
        ignored, why = _OF_VIDEOS, "only a video (--interpolate) has frames"
    wrong = ", ".join(name if name == "sentences" else f"--{name}" for name in given if name in ignored)
    if wrong:
        raise SpecError(f"{wrong} would change nothing here: {why}; leave out {wrong}")


def wished_sentences(sentences: Sequence[str], captions: Path | None, edits: Sequence[str]) -> tuple[str, ...]:
    """All sentences to draw, tidied; one empty one where none is given."""
    given = [tidy_sentence(sentence) for sentence in sentences]
    given += read_captions(captions) if captions is not None else []
    if edits:
        if len(given) != 1:
            raise SpecError(f"--edit changes words of one sentence; {len(given)} are given")
        return tuple(edited(given[0], edits))
    return tuple(given) or ("",)


def say_unknown(bundle: "Bundle", sentences: Sequence[str]) -> None:
    """Name words that the model never read, each once, and say where it stops reading."""
    named: set[str] = set()
    for sentence in sentences:
        for word, near in bundle.unknown_words(sentence).items():
            if word not in named:
                named.add(word)
                say(f"the model never read {word!r:.60}{f'; the nearest word it knows is {near!r}' if near else ''}")
        left_out = bundle.words_left_out(sentence)
        if left_out:
            say(f"{sentence[:40]!r}...: the model reads {bundle.max_tokens} words; the last {left_out} are left out")


def draw(bundle: "Bundle", wish: Wish, out: Path, each: Path | None, *, side_by_side: bool) -> None:
    """All faces on one sheet, and each for itself if asked for."""
    # As above: this module starts without torch.
    from t2f.checkpoint import write_durably
    from t2f.pictures import viewing_factor

    columns = 4 if len(wish.seeds) == 1 and not side_by_side else COLUMNS
    recipe = Recipe(
        model_sha256=bundle.sha256,
        captions=wish.sentences,
        seeds=wish.seeds,
        truncation=wish.truncation,
        columns=columns,
        enlarge=wish.enlarge or viewing_factor(bundle.resolution),
    )
    faces = draw_recipe(bundle, recipe)
    with writing(out):
        write_durably(out, stamped_png(picture_of(bundle, recipe, faces), recipe))
    say(f"{out}: {len(faces)} {'faces' if len(faces) > 1 else 'face'} of {bundle.resolution} px")
    if each is None:
        return
    for place in range(len(faces)):
        one = face_recipe(recipe, place, enlarge=wish.enlarge or 1)
        caption, seed = divmod(place, len(wish.seeds))
        name = f"face-{caption + 1:03}-seed-{wish.seeds[seed]}.png"
        with writing(each / name):
            write_durably(each / name, stamped_png(picture_of(bundle, one, faces), one))
    say(f"{each}: each of them")


def face_recipe(recipe: Recipe, place: int, *, enlarge: int) -> Recipe:
    """The recipe of one of a sheet's faces: it is drawn among the others, as its bits depend on them."""
    return Recipe(
        model_sha256=recipe.model_sha256,
        captions=recipe.captions,
        seeds=recipe.seeds,
        truncation=recipe.truncation,
        columns=0,
        enlarge=enlarge,
        face=place,
    )


def draw_recipe(bundle: "Bundle", recipe: Recipe) -> "np.ndarray":
    """uint8 [N, 3, R, R], caption by caption"""
    return bundle.draw(recipe.captions, seeds=recipe.seeds, truncation=recipe.truncation)


def picture_of(bundle: "Bundle", recipe: Recipe, faces: "np.ndarray") -> "Image.Image":
    """The picture that a recipe asks for, of its faces."""
    # As above: this module starts without torch, and numpy and Pillow's drawing are not needed to refuse either.
    from t2f.pictures import contact_sheet, enlarged, wall

    if recipe.face is not None:
        return enlarged(faces[recipe.face], recipe.enlarge)
    if recipe.columns == 0 or not bundle.reads_words:
        return wall(
            faces.repeat(recipe.enlarge, axis=2).repeat(recipe.enlarge, axis=3),
            columns=min(recipe.columns or len(faces), len(faces)),
        )
    return contact_sheet(
        faces, recipe.captions, faces_each=len(recipe.seeds), columns=recipe.columns, enlarge=recipe.enlarge
    )


def check_recipe(bundle: "Bundle", recipe: Recipe, png: Path) -> None:
    """SpecError where this model cannot draw the picture again."""
    if recipe.model_sha256 != bundle.sha256:
        raise SpecError(
            f"{png} was drawn with another model ({recipe.model_sha256[:12]}..., this one is {bundle.sha256[:12]}...); "
            "give the one that it was drawn with"
        )
    if recipe.face is not None and recipe.face >= len(recipe.captions) * len(recipe.seeds):
        raise SpecError(f"{png} cannot be drawn again: its recipe has no face {recipe.face}")
    bundle.check_draw(recipe.captions, recipe.seeds)


def repeat(bundle: "Bundle", recipe: Recipe, png: Path, out: Path) -> None:
    """Draw a picture of this command again, and say whether it came out the same."""
    # As above: this module starts without torch.
    from t2f.checkpoint import write_durably

    picture = picture_of(bundle, recipe, draw_recipe(bundle, recipe))
    same = same_pixels(png, picture)
    with writing(out):
        write_durably(out, stamped_png(picture, recipe))
    verdict = "the same, bit for bit" if same else "drawn again, but not to the same bits: another processor or build"
    say(f"{out}: {verdict}")


def walk_steps(
    bundle: "Bundle", wish: Wish, what: str, out: Path, *, frames: int, fps: float
) -> "Iterator[np.ndarray]":
    """The frames of a video through the sentences, or through the seeds, drawn one by one; SpecError for none."""
    # As above: this module starts without torch.
    from t2f.video import checked_video
    from t2f.walks import through_captions, through_seeds

    ways = {"captions": through_captions, "seeds": through_seeds}
    checked_video(out, fps)
    return ways[what](bundle, wish.sentences, wish.seeds, truncation=wish.truncation, frames=frames)


def write_walk(
    bundle: "Bundle", wish: Wish, steps: "Iterator[np.ndarray]", out: Path, *, frames: int, fps: float
) -> None:
    # As above: this module starts without torch.
    from t2f.pictures import viewing_factor, wall
    from t2f.video import write_video

    factor = wish.enlarge or viewing_factor(bundle.resolution)

    def pictures() -> "Iterator[Image.Image]":
        with bar("drawing") as progress:
            for number, faces in enumerate(steps, start=1):
                small = wall(faces, columns=min(COLUMNS, len(faces)))
                yield small.resize((factor * small.width, factor * small.height), resample=3)  # bicubic
                progress(number, frames)

    count = write_video(out, pictures(), fps=fps)
    say(f"{out}: {count} frames, {count / fps:.1f} s")


def parse_seeds(text: str) -> list[int]:
    """Numbers from "0", "0-7" or "1,5,9"; SpecError for anything else."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        # isdigit() also takes the raised two, of which int() makes no number.
        if not all(number.isascii() and number.isdigit() and len(number) <= 10 for number in (first, last or "0")):
            raise SpecError(f"--seeds {text!r} is not allowed; give numbers such as 0, 0-7 or 1,5,9")
        end = int(last or first)
        if not 0 <= end - int(first) < 1024:
            raise SpecError(f"--seeds {part!r} is not allowed; a range goes up and holds at most 1024 numbers")
        numbers += range(int(first), end + 1)
    return numbers


# What a model is


def card_command(
    context: typer.Context, model: ModelArgument, home: HomeOption = DEFAULT_HOME, as_json: AsJson = False
) -> None:
    """Show a model's card: its data, its scores, and what it must not be used for."""
    card = read_card(model_file(context, model, home))
    if as_json:
        print_json(card)
    else:
        say(card_text(card))


# How it grew


def timelapse_command(
    context: typer.Context,
    training: Annotated[str, typer.Argument(metavar="TRAINING", help="The folder of `t2f train`, or a TRIAL.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .mp4 or .gif to write.")] = Path("growing.mp4"),
    seconds: Annotated[float, typer.Option(help="Of each stage.")] = 3.0,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 20.0,
    captions: Annotated[int, typer.Option(help="How many of the probe's captions.")] = 8,
    seeds: Annotated[int, typer.Option(help="Faces for each.")] = 1,
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRun = False,
) -> None:
    """Show a training growing: the probe's captions from 4 px through every fade to the last resolution."""
    if not 2 <= seconds * fps <= 3600:
        raise SpecError(
            f"--seconds {seconds:g} at --fps {fps:g} are {seconds * fps:g} frames a stage; 2 to 3600 are possible"
        )
    frames = round(seconds * fps)
    folder = Path(training)
    known: Known | None = context.obj
    if not folder.is_dir() and (known is None or folder.is_file()):
        raise UserError(f"{folder} is no folder; give the output folder of `t2f train`")
    quiet_threads()
    # As above: this module starts without torch.
    from t2f.timelapse import frame_picture, frames_of, growth_of_folder, some_of
    from t2f.video import checked_video, write_video

    checked_video(out, fps)
    whole = growth_of_folder(folder) if folder.is_dir() else known.growth(training, home)
    growth = some_of(whole, captions=captions, seeds=seeds)
    total = frames * len(growth.stages)
    if dry_run:
        say(f"would draw {total} frames from 4 to {growth.resolution} px into {out}")
        return

    def pictures() -> "Iterator[Image.Image]":
        with bar("drawing") as progress:
            for number, frame in enumerate(frames_of(growth, frames_a_stage=frames), start=1):
                yield frame_picture(frame, growth, columns=COLUMNS if seeds > 1 else 4)
                progress(number, total)

    count = write_video(out, pictures(), fps=fps)
    say(f"{out}: {count} frames, {count / fps:.1f} s, from 4 to {growth.resolution} px")
