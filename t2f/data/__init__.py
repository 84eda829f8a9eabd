"""Data: the demo's faces, readers of sources, and prepared data sets."""

from t2f.data.demo import DemoSummary, render_demo
from t2f.data.images import CropOptions, crop_square, downscale, open_image
from t2f.data.prepare import PrepareOptions, check_source, prepare
from t2f.data.prepared import PreparedData, Split
from t2f.data.readers import READERS, Example, find_reader, read_source
from t2f.data.words import Vocabulary, split_words

__all__ = [
    "READERS",
    "CropOptions",
    "DemoSummary",
    "Example",
    "PrepareOptions",
    "PreparedData",
    "Split",
    "Vocabulary",
    "check_source",
    "crop_square",
    "downscale",
    "find_reader",
    "open_image",
    "prepare",
    "read_source",
    "render_demo",
    "split_words",
]
