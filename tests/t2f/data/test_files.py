import pytest

from t2f.data.files import new_folder, read_json, write_json
from t2f.errors import DataError


def test_a_new_folder_appears_at_the_end(tmp_path):
    out = tmp_path / "a" / "b"
    with new_folder(out) as draft:
        (draft / "file").write_text("x")
        assert not out.exists()
    assert (out / "file").read_text() == "x"
    assert list(out.parent.iterdir()) == [out]


def test_after_an_error_the_folders_made_for_it_go_too(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(KeyError), new_folder(tmp_path / "a" / "b" / "c" / "out"):
        raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_the_old_folder_stays_whole_after_an_error_and_goes_after_success(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    with pytest.raises(KeyError), new_folder(out) as draft:
        {}[(draft / "new").touch()]
    assert [path.name for path in out.iterdir()] == ["old"]
    with new_folder(out) as draft:
        (draft / "new").touch()
    assert [path.name for path in out.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [out]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"), new_folder(tmp_path / "file" / "out"):
        pass


def test_json_round_trip_and_errors(tmp_path):
    write_json(tmp_path / "a.json", {"é": [1]})
    assert read_json(tmp_path / "a.json") == {"é": [1]}
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        read_json(tmp_path / "a.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path / "b.json")
