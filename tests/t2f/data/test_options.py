import pytest

from t2f.data.images import CropOptions
from t2f.data.options import PrepareOptions
from t2f.errors import DataError


def test_the_format_chooses_the_crop_where_nobody_else_does():
    assert PrepareOptions().plain("face2text")["crop"] == "centre:128"
    for format in ("imagefolder", "folder"):
        assert PrepareOptions().plain(format)["crop"] == "square"
        assert PrepareOptions(crop=CropOptions.parse("fraction:0.5")).plain(format)["crop"] == "fraction:0.5"


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_resolution": 96},
        {"max_resolution": 2},
        {"max_resolution": 2048},
        {"validation_fraction": 1.0},
        {"test_fraction": float("nan")},
        {"validation_fraction": 0.6, "test_fraction": 0.5},
        {"split_seed": -1},
        {"min_count": 0},
        {"max_tokens": 2.5},
        {"max_tokens": True},
        {"on_bad_image": "ignore"},
    ],
    ids=str,
)
def test_wrong_options_say_what_is_allowed(wrong):
    with pytest.raises(DataError, match="is not allowed; it must be"):
        PrepareOptions(**wrong)
