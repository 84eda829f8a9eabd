"""`t2f generate`, `t2f card` and `t2f photofit` as a user types them, in this process."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from scheduler.cli import app
from t2f.checkpoint import load_tensors, save_tensors, tensors_sha256
from t2f.description import FIELDS, described
from t2f.errors import UserError
from t2f.generate_cli import parse_seeds
from t2f.recipe import png_with_texts
from tests.t2f.helpers import write_bundle


@pytest.fixture
def model(tiny_data, tmp_path) -> Path:
    write_bundle(tmp_path / "model.safetensors", tiny_data)
    return tmp_path / "model.safetensors"


def t2f(*words: object) -> str:
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: object) -> str:
    """What `main` prints for a wish that cannot be had."""
    with pytest.raises(UserError) as error:
        CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    return str(error.value)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def texts(path: Path | str) -> dict[str, str]:
    with Image.open(path) as picture:
        return picture.info


def test_a_picture_is_drawn_again_bit_for_bit(model, tmp_path):
    out, each, again = tmp_path / "faces.png", tmp_path / "each", tmp_path / "again.png"
    said = t2f(
        "generate", model, "long pinkk hair", "dark skin", "--seeds", "0-2,9", "--truncation", 0.7, "-o", out,
        "--each", each,
    )  # fmt: skip
    assert "never read 'pinkk'; the nearest word it knows is 'pink'" in said
    assert "8 faces of 16 px" in said
    assert "the same, bit for bit" in t2f("generate", model, "--from-png", out, "-o", again)
    assert out.read_bytes() == again.read_bytes()
    names = sorted(path.name for path in each.iterdir())
    assert names[:2] == ["face-001-seed-0.png", "face-001-seed-1.png"]
    assert len(names) == 8
    for name in names:
        assert "the same, bit for bit" in t2f("generate", model, "--from-png", each / name, "-o", again)
        assert pixels(each / name).shape == (16, 16, 3)
        assert (each / name).read_bytes() == again.read_bytes()


def test_a_picture_of_another_model_is_not_drawn_again(model, tiny_data, bare_data, tmp_path):
    out = tmp_path / "faces.png"
    t2f("generate", model, "hair", "-o", out)
    write_bundle(tmp_path / "other", bare_data, {"text.encoder": "none"})
    assert "drawn with another model" in refused("generate", tmp_path / "other", "--from-png", out)
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    assert "does not say" in refused("generate", model, "--from-png", tmp_path / "plain.png")
    assert "leave out sentences" in refused("generate", model, "hair", "--from-png", out)
    changed = Image.fromarray(255 - pixels(out))
    (tmp_path / "changed.png").write_bytes(png_with_texts(changed, {"t2f": texts(out)["t2f"]}))
    said = t2f("generate", model, "--from-png", tmp_path / "changed.png", "-o", tmp_path / "again.png")
    assert "not to the same bits" in said


def test_captions_of_a_file_and_edits(model, tmp_path):
    captions, out = tmp_path / "captions.txt", tmp_path / "sheet.png"
    captions.write_text("long pink hair\n\ndark skin\n")
    assert "6 faces" in t2f("generate", model, "--captions", captions, "--seeds", "0-2", "-o", out)
    assert "4 faces" in t2f("generate", model, "short hair", "--edit", "short=long", "--edit", "hair=beard", "-o", out)
    assert json.loads(texts(out)["t2f"])["captions"] == [
        "short hair",
        "long hair",
        "short beard",
        "long beard",
    ]
    assert "of one sentence; 2" in refused("generate", model, "--captions", captions, "--edit", "a=b")
    assert "does not hold 'x'" in refused("generate", model, "hair", "--edit", "x=y")


def test_enlarged_faces(model, tmp_path):
    out, each = tmp_path / "f.png", tmp_path / "each"
    t2f("generate", model, "hair", "--enlarge", 3, "-o", out, "--each", each)
    assert pixels(each / "face-001-seed-0.png").shape == (48, 48, 3)
    assert "the same" in t2f("generate", model, "--from-png", each / "face-001-seed-0.png", "-o", out)


@pytest.mark.parametrize("what", ["captions", "seeds"])
def test_walks_become_videos(model, tmp_path, what):
    for name in ("walk.mp4", "walk.gif"):
        out = tmp_path / name
        said = t2f(
            "generate", model, "long hair", "dark skin", "--seeds", "0,1", "--interpolate", what, "--frames", 6,
            "--fps", 10, "-o", out,
        )  # fmt: skip
        assert "6 frames, 0.6 s" in said
    with av.open(str(tmp_path / "walk.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert (len(frames), frames[0].shape) == (6, (192, 384, 3))


def test_a_model_without_words_needs_no_sentence(bare_data, tmp_path):
    write_bundle(tmp_path / "bare", bare_data, {"text.encoder": "none"})
    out = tmp_path / "f.png"
    assert "3 faces" in t2f("generate", tmp_path / "bare", "--seeds", "0-2", "--enlarge", 1, "-o", out)
    assert pixels(out).shape == (16, 48, 3)
    assert "the same, bit for bit" in t2f("generate", tmp_path / "bare", "--from-png", out, "-o", tmp_path / "g.png")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hair", "--seeds", "x"], "--seeds 'x'"),
        (["hair", "--seeds", "\N{SUPERSCRIPT TWO}"], "--seeds '\N{SUPERSCRIPT TWO}'"),
        (["hair", "--seeds", "9-1"], "range goes up"),
        (["hair", "--seeds", "0-1023,5"], "1025 faces"),
        (["hair", "--truncation", "2"], "--truncation 2"),
        (["hair", "--truncation", "nan"], "--truncation nan"),
        (["hair", "--enlarge", "0"], "--enlarge 0"),
        (["hair", "-o", "x.jpg"], "end in .png"),
        (["hair", "-o", "model.safetensors/x.png"], "x.png cannot be written"),
        (
            ["hair", "-o", "model.safetensors/x.gif", "--interpolate", "seeds", "--seeds", "0,1"],
            "x.gif cannot be written",
        ),
        (["hair", "-o", "x.png", "--interpolate", "seeds"], "end in .mp4 or .gif"),
        (["hair", "-o", "x.mp4", "--interpolate", "words"], "give captions or seeds"),
        (["hair", "-o", "x.mp4", "--interpolate", "seeds"], "two or more seeds"),
        (["hair", "-o", "x.mp4", "--interpolate", "seeds", "--seeds", "0,1", "--fps", "99"], "--fps 99"),
        (["hair", "-o", "x.mp4", "--interpolate", "seeds", "--seeds", "0,1", "--frames", "1"], "--frames 1"),
        (["hair", "-o", "x.mp4", "--interpolate", "seeds", "--each", "f"], "--each would change nothing here"),
        (["hair", "--frames", "5"], "--frames would change nothing here"),
        (["--from-png", "x.png", "--seeds", "0", "--truncation", "0"], "--seeds, --truncation would change nothing"),
        (["--captions", "nothing.txt"], "nothing.txt cannot be read"),
        (["--from-png", "nothing.png"], "nothing.png cannot be read"),
        ([""], "has no words"),
        (["\N{GRINNING FACE}"], "has no words"),
        (["a\x1b[2Jb"], "U+001B"),
        (["hair " * 3000], "15,000 characters"),
    ],
    ids=lambda value: value if isinstance(value, str) else ascii(value)[:30],
)
def test_wishes_that_cannot_be_drawn_write_nothing(model, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert said in refused("generate", model, *words)
    if "cannot be written" not in said:  # which is only tried
        assert said in refused("generate", model, *words, "--dry-run")
    assert sorted(tmp_path.iterdir()) == before


def test_markup_in_sentences_is_text(model, tmp_path):
    said = t2f("generate", model, "hair [/zzz] :zzzz: [red]", "-o", tmp_path / "f.png")
    assert "never read 'zzz'" in said


def test_a_dry_run_writes_nothing(model, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert "would draw 2 faces" in t2f("generate", model, "a", "b", "-o", tmp_path / "f.png", "--dry-run")
    session = tmp_path / "s.json"
    assert "would draw 8 faces" in t2f("photofit", "start", model, "hair", "-s", session, "--dry-run")
    assert sorted(tmp_path.iterdir()) == before


def test_seeds_are_numbers_and_ranges():
    assert parse_seeds("0-2, 9") == [0, 1, 2, 9]


def test_the_card_is_shown(model):
    assert "not evidence" in t2f("card", model)
    assert json.loads(t2f("card", model, "--json"))["model"]["resolution"] == 16


def test_a_folder_without_a_model_does_not_hide_a_name(model, tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    for command in (("generate", "demo", "hair"), ("evaluate", "demo")):
        said = refused(*command, "--home", home)
        assert "holds no database" in said
        assert "folder demo holds no model.safetensors" in said
    assert not home.exists()


def test_a_folder_of_a_training_is_evaluated(model, tiny_data):
    home = tiny_data.path.parent.parent
    said = t2f("evaluate", model.parent, "--data", "tiny", "--home", home, "--images", 16, "--dry-run")
    assert f"would draw 16 faces of 16 px with {model}" in said


@pytest.mark.parametrize("words", [("--seconds", "nan"), ("--seconds", "inf"), ("--seconds", "0"), ("--fps", "nan")])
def test_a_timelapse_of_no_frames_is_refused(tmp_path, words):
    assert "frames a stage; 2 to 3600 are possible" in refused("timelapse", tmp_path, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("-s", "w.png"), "both session and picture"), (("-s", "w.json", "-o", "w.jpg"), "let it end in .png")],
)
def test_a_photofit_writes_no_picture_over_its_session(model, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused("photofit", "start", model, "hair", *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors"]


def test_a_photofit_draws_nothing_anew_unasked(model, tmp_path):
    session = tmp_path / "witness.json"
    t2f("photofit", "start", model, "long hair", "-s", session, "--faces", 2)
    before = session.read_bytes()
    done = CliRunner().invoke(app, ["photofit", "next", str(session), "--words", "long pink hair"])
    assert done.exit_code == 2
    assert session.read_bytes() == before


def test_a_photofit_from_the_first_sentence_to_a_face(model, tmp_path):
    session = tmp_path / "witness.json"
    first = json.loads(t2f("photofit", "start", model, "long pinkk hair", "-s", session, "--faces", 6, "--json"))
    assert (first["generation"], first["faces"], first["unknown_words"]) == (0, 6, {"pinkk": "pink"})
    assert texts(first["picture"])["Description"] == "long pinkk hair"
    assert "exists already" in refused("photofit", "start", model, "hair", "-s", session)
    second = json.loads(t2f("photofit", "next", session, "--keep", "1,4", "--words", "long pink hair", "--json"))
    assert (second["generation"], second["kept"], second["words"]) == (1, 2, "long pink hair")
    sheet = pixels(second["picture"])
    assert "generation 2" in t2f("photofit", "next", session, "--keep", "none")
    assert json.loads(t2f("photofit", "undo", session, "--json"))["generation"] == 1
    assert np.array_equal(pixels(second["picture"]), sheet)
    face = tmp_path / "face.png"
    assert "not evidence" in t2f("photofit", "save", session, "--face", 2, "--enlarge", 1, "-o", face)
    assert pixels(face).shape == (16, 16, 3)
    assert json.loads(texts(face)["t2f photofit"])["face"] == 2
    for words, said in (
        (("next", session, "--keep", "7"), "numbers 1 to 6"),
        (("next", session, "--keep", "1;2"), "--keep '1;2'"),
        (("save", session, "--face", "0"), "--face 0"),
        (("next", tmp_path / "nothing.json", "--keep", "1"), "nothing.json cannot be read"),
        (("next", session, "--keep", "1", "--model", tmp_path / "gone"), "does not exist any more"),
    ):
        assert said in refused("photofit", *words)
    change_weights(model)
    assert "is another model" in refused("photofit", "next", session, "--keep", "1")


def change_weights(path: Path) -> None:
    tensors, metadata = load_tensors(path)
    tensors = {name: tensor * 0.5 if name == "generator.first.weight" else tensor for name, tensor in tensors.items()}
    fields = {name: metadata[name] for name in FIELDS} | {"sha256": tensors_sha256(tensors)}
    save_tensors(path, tensors, described(fields))
