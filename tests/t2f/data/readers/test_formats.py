from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from t2f.data.images import open_image
from t2f.data.options import PrepareOptions
from t2f.data.prepare import prepare
from t2f.data.readers import Example, formats, read_source, recognise, recognised
from t2f.errors import DataError
from tests.t2f.data.layouts import LAYOUTS, NUM_IMAGES, SIDE, SPLITS, write_celeba, write_text


def test_unknown_formats_get_the_nearest_name(tmp_path):
    with pytest.raises(DataError, match=r"did you mean 'imagefolder'\? Known formats: celeba, .*, imagefolder,"):
        read_source("image_folder", tmp_path)


@pytest.mark.parametrize("format", ["face2text", "folder", "imagefolder"])
def test_wrong_folders_are_named(tmp_path, format):
    with pytest.raises(DataError, match="give the folder that holds"):
        read_source(format, tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        read_source(format, tmp_path / "nowhere")


def read_twice(root):
    return [Example(image_id="a", path=root / "a.png", captions=("a man",))] * 2


def read_once(root):
    return read_twice(root)[:1]


def read_half_described(root):
    return [*read_once(root), Example(image_id="b", path=root / "b.png", captions=())]


REASONS = {
    "read_twice": "'a' is there twice",
    "read_half_described": "'b' has no caption, but others have; .*--uncaptioned",
    "no_such_function": "cannot be loaded",
}


@pytest.mark.parametrize("name", ["read_once", *REASONS])
def test_readers_of_others_come_by_entry_point_and_are_checked(tmp_path, monkeypatch, name):
    entries = [EntryPoint(name="mine", value=f"{__name__}:{name}", group="t2f.datasets")]
    monkeypatch.setattr(formats, "entry_points", lambda group: entries if group == "t2f.datasets" else [])
    if name == "read_once":
        assert read_source("mine", tmp_path)[0].path == Path(tmp_path / "a.png")
    else:
        with pytest.raises(DataError, match=REASONS[name]):
            read_source("mine", tmp_path)


# Every format


@pytest.fixture(params=sorted(LAYOUTS))
def layout(request, tmp_path):
    """(format, captions an image, folder) of a small source."""
    format, write, captions = LAYOUTS[request.param]
    root = tmp_path / "source"
    root.mkdir()
    write(root)
    return format, captions, root


def test_every_format_is_recognised_alone_and_says_why(layout):
    format, _, root = layout
    found, why = recognise(root)
    assert (found.name, len(recognised(root))) == (format, 1)
    assert why.isprintable()
    assert str(root) not in why


def test_every_format_gives_its_pictures_and_captions(layout):
    format, captions, root = layout
    examples = read_source(format, root)
    assert len(examples) == len({example.image_id for example in examples}) == NUM_IMAGES
    assert {len(example.captions) for example in examples} == {captions}
    for example in examples:
        assert example.path.is_file()
        assert open_image(example.path, example.span).size[0] in (SIDE, 130)


def test_every_format_is_read_the_same_wherever_it_lies(layout, tmp_path):
    format, _, root = layout
    before = read_source(format, root)
    root.rename(tmp_path / "elsewhere")
    after = read_source(format, tmp_path / "elsewhere")
    assert [(e.image_id, e.captions, e.split, e.attributes) for e in before] == [
        (e.image_id, e.captions, e.split, e.attributes) for e in after
    ]


def test_every_format_is_prepared_with_its_own_splits_kept(layout, tmp_path):
    format, captions, root = layout
    options = PrepareOptions(max_resolution=4, min_count=1)
    data = prepare(root, format=format, out=tmp_path / "out", options=options)
    given = {example.image_id: example.split for example in read_source(format, root)}
    for name in ("train", "validation", "test"):
        split = data.split(name)
        assert split.images(4).shape == (split.size, 3, 4, 4)
        assert len(split.captions) == captions * split.size
        for image_id in split.image_ids:
            # A source of two splits only has its validation taken from training, and nothing else is moved.
            assert given[image_id] in (None, name) or (given[image_id], name) == ("train", "validation")
    assert data.manifest["format"] == format
    assert data.manifest["colour"]["alpha"] == "laid on white"


def test_every_format_without_its_pictures_names_the_missing_ones(layout, tmp_path):
    format, _, root = layout
    if format in ("folder", "sidecar", "webdataset"):
        pytest.skip("a picture that is not there is not known of")
    for example in read_source(format, root)[:2]:
        example.path.unlink()
    with pytest.raises(DataError, match=r"2 of 8 images cannot be used(?s:.*)does not exist"):
        prepare(root, format=format, out=tmp_path / "out", options=PrepareOptions(max_resolution=4))


def test_official_splits_are_those_of_the_source(tmp_path):
    for name in ("csv", "webdataset", "flickr8k", "face2text-2.1", "celeba", "celeba of Kaggle"):
        format, write, _ = LAYOUTS[name]
        root = tmp_path / name
        root.mkdir()
        write(root)
        splits = sorted(example.split for example in read_source(format, root))
        assert splits == sorted(SPLITS), name


def test_two_formats_that_fit_are_named_and_neither_is_taken(tmp_path):
    write_celeba(tmp_path)
    write_text(tmp_path / "raw_2.1.json", "[]")
    with pytest.raises(DataError, match=r"fits 2 formats: face2text-2\.1 \(.*\); celeba \(.*\)\. Say .* --format"):
        recognise(tmp_path)


def test_a_folder_of_nothing_known_says_so(tmp_path):
    write_text(tmp_path / "notes.txt", "x")
    with pytest.raises(DataError, match="no pictures and nothing that describes any were found; give the folder"):
        recognise(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        recognise(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="it does not exist"):
        recognise(tmp_path / "nowhere")


def test_a_link_that_leads_out_does_not_hide_what_a_folder_is(tmp_path):
    source = tmp_path / "source"
    write_celeba(source)
    write_text(tmp_path / "elsewhere" / "metadata.jsonl", "")
    (source / "link").symlink_to(tmp_path / "elsewhere")
    assert recognise(source)[0].name == "celeba"


def test_compressed_shards_are_recognised_and_refused(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    assert recognise(tmp_path)[0].name == "webdataset"
    with pytest.raises(DataError, match="uncompress it"):
        read_source("webdataset", tmp_path)


def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    blocked = formats.Format(name="blocked", about="", read=refuse, recognise=refuse)
    monkeypatch.setitem(formats.FORMATS, "blocked", blocked)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        recognise(tmp_path)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read_source("blocked", tmp_path)
