"""The command `t2f photofit`: a witness's session in a file, one step a call, for people and for programs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t2f import photofit
from t2f.cli import DEFAULT_HOME, AsJson, DryRun, HomeOption, print_json
from t2f.data.files import writing
from t2f.errors import CheckpointError, SpecError, UserError
from t2f.generate_cli import ModelArgument, model_file, say, say_unknown
from t2f.photofit import Session
from t2f.threads import quiet_threads

if TYPE_CHECKING:
    from t2f.generate import Bundle

photofit_app = typer.Typer(
    no_args_is_help=True, help="A face from a witness: keep the faces that are nearer, refine the words."
)

COLUMNS = 4
SessionArgument = Annotated[Path, typer.Argument(metavar="SESSION", help="The file that `photofit start` wrote.")]
PictureOption = Annotated[
    Path | None, typer.Option("--out", "-o", help="The PNG of the newest faces; default: SESSION's name with .png.")
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", help="The model, if it is no longer where the session began.")
]


@photofit_app.command("start")
def start_command(
    context: typer.Context,
    model: ModelArgument,
    sentence: Annotated[str, typer.Argument(help="What the witness says first.")],
    session: Annotated[Path, typer.Option("--session", "-s", help="The file to write.")] = Path("photofit.json"),
    faces: Annotated[int, typer.Option(help="Faces of each generation.")] = 8,
    seed: Annotated[int, typer.Option(help="Other seeds give other faces.")] = 0,
    out: PictureOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Begin with a sentence; writes the session and the first faces, with their numbers."""
    path, picture = model_file(context, model, home), picture_path(session, out)
    if session.exists():
        raise UserError(
            f"{session} exists already; go on with `t2f photofit next {session}`, or give another --session"
        )
    # The size stands for any model's, until this one is open: whatever is wrong with the rest is refused before torch.
    begun = photofit.start(model_sha256="", latent_size=1, words=sentence, faces=faces, seed=seed)
    if dry_run:
        say(f"would draw {faces} faces with {path} into {picture} and begin {session}")
        return
    bundle = opened(path)
    begun = photofit.start(
        model_sha256=bundle.sha256, latent_size=bundle.model.latent_size, words=begun.words, faces=faces, seed=seed
    )
    tell(begun, bundle, path, session, picture, as_json=as_json)


@photofit_app.command("next")
def next_command(
    session: SessionArgument,
    keep: Annotated[str, typer.Option(help="Numbers of the faces that are nearer: 1,4; none: draw all anew.")],
    words: Annotated[str | None, typer.Option(help="The whole sentence from now on; default: as before.")] = None,
    model: ModelOption = None,
    out: PictureOption = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Keep the faces that are nearer and draw the next generation from them."""
    now, path = read_session(session, model)
    then, picture = now.next(keep=kept_numbers(keep), words=words), picture_path(session, out)
    if dry_run:
        say(f"would draw generation {then.generation} of {session} into {picture}")
        return
    tell(then, opened(path), path, session, picture, as_json=as_json)


@photofit_app.command("undo")
def undo_command(
    session: SessionArgument,
    model: ModelOption = None,
    out: PictureOption = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Forget the last step."""
    now, path = read_session(session, model)
    before, picture = now.undo(), picture_path(session, out)
    if dry_run:
        say(f"would go back to generation {before.generation} of {session}")
        return
    tell(before, opened(path), path, session, picture, as_json=as_json)


@photofit_app.command("save")
def save_command(
    session: SessionArgument,
    face: Annotated[int, typer.Option(help="The number of the face.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")] = Path("face.png"),
    enlarge: Annotated[int | None, typer.Option(help="Px for each px; default: a face of about 192 px.")] = None,
    model: ModelOption = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Write one of the newest faces as a picture, with the session inside."""
    now, path = read_session(session, model)
    if not 1 <= face <= now.faces:
        raise SpecError(f"--face {face} is not allowed; faces have the numbers 1 to {now.faces}")
    if enlarge is not None and not 1 <= enlarge <= 64:
        raise SpecError(f"--enlarge {enlarge} is not allowed; it must be from 1 to 64")
    picture_path(session, out)
    if dry_run:
        say(f"would write face {face} of generation {now.generation} to {out}")
        return
    bundle = opened(path)
    check_model(now, bundle, path)
    # As in t2f.cli: this module starts without torch.
    from t2f.checkpoint import write_durably
    from t2f.pictures import enlarged, viewing_factor
    from t2f.recipe import png_with_texts

    picture = enlarged(draw(now, bundle)[face - 1], enlarge or viewing_factor(bundle.resolution))
    texts = {"Description": now.words, "t2f photofit": json.dumps({**now.to_json(), "face": face})}
    with writing(out):
        write_durably(out, png_with_texts(picture, texts))
    if as_json:
        print_json({"picture": str(out), "face": face, "generation": now.generation, "words": now.words})
    else:
        say(f"{out}: face {face} of generation {now.generation}. It is a drawing, not evidence")


def picture_path(session: Path, out: Path | None) -> Path:
    """Where the faces go; SpecError where that is no PNG's name, or the session itself."""
    picture = out or session.with_suffix(".png")
    if picture.suffix.lower() != ".png":
        raise SpecError(f"-o {picture} is not allowed; let it end in .png")
    if picture == session:
        raise SpecError(f"{session} cannot be both session and picture; let the session end in .json")
    return picture


def kept_numbers(text: str) -> tuple[int, ...]:
    """Numbers from "1,4"; none from "none"."""
    if text.strip().lower() == "none":
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
        raise SpecError(f"--keep {text!r:.60} is not allowed; give the numbers under the faces, such as 1,4, or none")
    return tuple(map(int, parts))


def read_session(session: Path, model: Path | None) -> tuple[Session, Path]:
    """The session in a file, and where its model is."""
    found, stored = photofit.load(session)
    path = model or Path(str(stored.get("model")))
    if not path.is_file():
        raise UserError(f"{session} was begun with the model {path}, which does not exist any more; give --model FILE")
    return found, path


def opened(path: Path) -> "Bundle":
    quiet_threads()
    # Importing torch takes a second that refusing need not wait for.
    from t2f.generate import open_bundle

    return open_bundle(path)


def check_model(session: Session, bundle: "Bundle", path: Path) -> None:
    if session.model_sha256 != bundle.sha256 or session.latent_size != bundle.model.latent_size:
        raise CheckpointError(
            f"{path} is another model ({bundle.sha256[:12]}...) than the session's ({session.model_sha256[:12]}...); "
            "give the one that it was begun with"
        )


def draw(session: Session, bundle: "Bundle") -> Any:
    """The newest generation: uint8 [N, 3, R, R]."""
    # As in t2f.cli: this module starts without torch.
    import torch

    text_ME = bundle.embed([session.words])
    if text_ME is None:
        raise SpecError("this model was trained without words; a photofit needs one that reads sentences")
    return bundle.draw_latents(bundle.latents(text_ME[0], torch.from_numpy(session.noise())))


def tell(session: Session, bundle: "Bundle", model: Path, file: Path, picture: Path, *, as_json: bool) -> None:
    """Draw the newest generation, keep the session, and say what is there."""
    check_model(session, bundle, model)
    # As in t2f.cli: this module starts without torch.
    from t2f.checkpoint import write_durably
    from t2f.pictures import contact_sheet
    from t2f.recipe import png_with_texts

    kept = len(session.steps[-1].keep)
    numbers = [f"{number}{', kept' if number <= kept else ''}" for number in range(1, session.faces + 1)]
    heading = f"generation {session.generation}: {session.words}"
    sheet = contact_sheet(draw(session, bundle), numbers, faces_each=1, columns=COLUMNS, heading=heading)
    with writing(picture):
        write_durably(picture, png_with_texts(sheet, {"Description": session.words}))
    with writing(file):
        write_durably(file, json.dumps({"model": str(model), **session.to_json()}, indent=1).encode())
    if as_json:
        print_json(
            {
                "session": str(file),
                "picture": str(picture),
                "generation": session.generation,
                "words": session.words,
                "faces": session.faces,
                "kept": kept,
                "unknown_words": bundle.unknown_words(session.words),
            }
        )
        return
    say_unknown(bundle, [session.words])
    say(f"{picture}: generation {session.generation}, {session.faces} faces for {session.words!r:.100}")
    say(f"next:  t2f photofit next {file} --keep NUMBERS [--words SENTENCE]")
