import os
import pickle

import pytest

from t2f.data.readers import read_all, read_source
from t2f.data.readers.name_lists import read_pickled_names
from t2f.errors import DataError
from tests.t2f.data.layouts import pickle_names, write_ffhq_text, write_mm_celeba_hq


class Runs:
    """A pickle that would make a file when it is read carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(tmp_path, protocol):
    (tmp_path / "names.pickle").write_bytes(pickle.dumps([Runs(tmp_path / "made")], protocol=protocol))
    with pytest.raises(DataError, match=r"it names (posix|nt)\.mkdir, which a list of file names has no use for"):
        read_pickled_names(tmp_path / "names.pickle")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_lists_of_names_of_every_protocol_are_read(tmp_path, protocol):
    pickle_names(tmp_path / "a.pickle", ["1", "é", 3], protocol=protocol)
    assert read_pickled_names(tmp_path / "a.pickle") == ["1", "é", "3"]


def test_a_list_that_python_2_wrote_is_read(tmp_path):
    (tmp_path / "a.pickle").write_bytes(b"(lp0\nS'12'\np1\naS'7.jpg'\np2\na.")
    assert read_pickled_names(tmp_path / "a.pickle") == ["12", "7.jpg"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no pickled list"),
        (b"hello", "is no pickled list"),
        (pickle.dumps(["1"])[:-3], "is no pickled list"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "is no pickled list"),
        (b"(lp0\nS'\\xe9'\na.", "is no pickled list"),
        (pickle.dumps({"1": 2}), "must be a pickled list of names"),
        (pickle.dumps([["1"]]), r"name 0: \['1'\] is no file's name"),
        (pickle.dumps([True]), "name 0: True"),
        (pickle.dumps(["a", "b", "a"]), "1 names are there twice"),
    ],
    ids=range(9),
)
def test_other_pickles_are_named(tmp_path, content, reason):
    (tmp_path / "a.pickle").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_pickled_names(tmp_path / "a.pickle")


def test_a_persistent_reference_is_refused(tmp_path):
    (tmp_path / "a.pickle").write_bytes(b"Pelsewhere\n.")
    with pytest.raises(DataError, match="refers to something outside"):
        read_pickled_names(tmp_path / "a.pickle")


def test_splits_are_those_of_the_lists(tmp_path):
    write_mm_celeba_hq(tmp_path)
    assert [example.split for example in read_source("mm-celeba-hq", tmp_path)] == ["train"] * 6 + ["test"] * 2
    pickle_names(tmp_path / "test" / "filenames.pickle", ["6", "5"])
    with pytest.raises(DataError, match="'5' is in the list for train too"):
        read_source("mm-celeba-hq", tmp_path)


def test_without_lists_all_texts_are_read_in_the_order_of_their_numbers(tmp_path, caplog):
    write_mm_celeba_hq(tmp_path)
    (tmp_path / "train" / "filenames.pickle").unlink()
    assert [example.image_id for example in read_source("mm-celeba-hq", tmp_path)] == ["6", "7"]
    assert "6 pictures are in no list of names and were left out" in caplog.text
    (tmp_path / "test" / "filenames.pickle").unlink()
    examples = read_source("mm-celeba-hq", tmp_path)
    assert [example.image_id for example in examples] == [str(number) for number in range(8)]
    assert examples[0].split is None


def test_texts_that_are_missing_empty_or_not_utf8_are_all_named(tmp_path):
    write_ffhq_text(tmp_path)
    (tmp_path / "Text" / "00000.txt").unlink()
    (tmp_path / "Text" / "00001.txt").write_text("\n \n")
    (tmp_path / "Text" / "00002.txt").write_bytes(b"na\xefve")
    reading = read_all("ffhq-text", tmp_path)
    assert [problem.kind for problem in reading.problems] == ["no caption", "no caption", "caption that is not UTF-8"]
    for problem, words in zip(
        reading.problems, ("does not exist", "there is no caption", "line 1: byte 0xEF"), strict=True
    ):
        assert words in str(problem)
    assert len(reading.examples) == 5
