"""Data: the demo's faces, readers of sources, and prepared data sets."""

from t2f.data.content import Content
from t2f.data.demo import DemoSummary, render_demo
from t2f.data.images import CropOptions, crop_square, downscale, open_image
from t2f.data.options import PrepareOptions, Uncaptioned
from t2f.data.prepare import check_source, is_prepared_from, planned_content, prepare, prepare_content
from t2f.data.prepared import PreparedData, Split
from t2f.data.readers import READERS, Example, find_reader, read_source
from t2f.data.words import Vocabulary, split_words

__all__ = [
    "READERS",
    "Content",
    "CropOptions",
    "DemoSummary",
    "Example",
    "PrepareOptions",
    "PreparedData",
    "Split",
    "Uncaptioned",
    "Vocabulary",
    "check_source",
    "crop_square",
    "downscale",
    "find_reader",
    "is_prepared_from",
    "open_image",
    "planned_content",
    "prepare",
    "prepare_content",
    "read_source",
    "render_demo",
    "split_words",
]
