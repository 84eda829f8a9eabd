import pytest

from t2f.data.readers import read_all, read_source
from t2f.errors import DataError
from tests.t2f.data.layouts import write_csv, write_flickr8k, write_flickr8k_of_kaggle, write_picture, write_text


def test_quotes_of_kaggles_form_are_undone(tmp_path):
    write_flickr8k_of_kaggle(tmp_path)
    assert read_source("flickr8k", tmp_path)[1].captions == ("a face", 'a face, number "1"')


def test_the_entry_with_a_number_after_its_ending_belongs_to_its_picture(tmp_path, caplog):
    write_flickr8k(tmp_path)
    assert len(read_source("flickr8k", tmp_path)) == 8
    assert "1 pictures are in none of the three lists of splits and were left out, such as '99_a.jpg'" in caplog.text
    for split in ("train", "dev", "test"):
        (tmp_path / f"Flickr_8k.{split}Images.txt").unlink()
    last = read_source("flickr8k", tmp_path)[-1]
    assert (last.image_id, last.split) == ("99_a.jpg", None)


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("Flickr8k.token.txt", "a.jpg#0 no tab\n", "line 1: no tab after the picture's name"),
        ("Flickr8k.token.txt", "a.jpg#0\t \n", "caption is empty"),
        ("Flickr_8k.devImages.txt", "0_a.jpg\n", r"line 1: '0_a\.jpg' is in the list for train too"),
    ],
)
def test_bad_lines_of_flickr8k_are_named(tmp_path, file, text, reason):
    write_flickr8k(tmp_path)
    write_text(tmp_path / file, text)
    if file == "Flickr8k.token.txt":
        for split in ("train", "dev", "test"):
            (tmp_path / f"Flickr_8k.{split}Images.txt").unlink()
    with pytest.raises(DataError, match=reason):
        read_source("flickr8k", tmp_path)


def test_a_csv_may_hold_marks_other_columns_and_several_captions_a_picture(tmp_path, caplog):
    write_picture(tmp_path / "a.jpg", 1)
    text = "Image;x\n".replace(";", ",").replace("x", "Caption,note")
    write_text(tmp_path / "data.csv", text + "a.jpg,first,1\na.JPG,other,2\na.jpg,second,3\n", encoding="utf-8-sig")
    first, second = read_source("csv", tmp_path)
    assert first.captions == ("first", "second")
    assert second.image_id == "a.JPG"
    assert "the columns 'note' were ignored" in caplog.text


def test_a_tsv_is_set_apart_by_tabs(tmp_path):
    write_text(tmp_path / "data.tsv", "path\tdescription\nx.png\ta face, smiling\n")
    assert read_source("csv", tmp_path)[0].captions == ("a face, smiling",)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ("../x.jpg,a face,train", "bad file name"),
        (",a face,train", "bad file name"),
        ("x.jpg,,train", "empty caption"),
        ("x.jpg,a face,later", "unknown split"),
        ("faces/0.jpg,a face,test", "contradicting entries"),
        ("x.jpg,a face,", "contradicting entries"),
    ],
)
def test_bad_rows_are_told_apart(tmp_path, row, kind):
    write_csv(tmp_path)
    with (tmp_path / "captions.csv").open("a") as file:
        file.write(row + "\n")
    reading = read_all("csv", tmp_path)
    assert [problem.kind for problem in reading.problems] == [kind]


def test_a_latin_1_table_is_named_with_its_line(tmp_path):
    write_csv(tmp_path)
    with (tmp_path / "captions.csv").open("ab") as file:
        file.write(b"x.jpg,na\xefve,train\n")
    with pytest.raises(DataError, match=r"captions\.csv, line 10: byte 0xEF is not UTF-8"):
        read_source("csv", tmp_path)


def test_two_tables_are_one_too_many(tmp_path):
    write_csv(tmp_path)
    write_text(tmp_path / "more.csv", "file,text\na.jpg,x\n")
    with pytest.raises(DataError, match=r"holds 2 tables \(captions\.csv, more\.csv\)"):
        read_source("csv", tmp_path)
