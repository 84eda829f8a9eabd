"""Data: the demo's faces, readers of sources, and prepared data sets."""

from t2f.data.cleaning import Cleaning, load_rules
from t2f.data.content import Content
from t2f.data.demo import DemoSummary, render_demo
from t2f.data.images import CropOptions, crop_square, downscale, open_image
from t2f.data.options import PrepareOptions, Uncaptioned
from t2f.data.prepare import check_source, is_prepared_from, planned_content, prepare, prepare_content
from t2f.data.prepared import PreparedData, Split, prepared_key
from t2f.data.readers import FORMATS, Example, Format, find_format, read_source, recognise
from t2f.data.words import Vocabulary, split_words

__all__ = [
    "FORMATS",
    "Cleaning",
    "Content",
    "CropOptions",
    "DemoSummary",
    "Example",
    "Format",
    "PrepareOptions",
    "PreparedData",
    "Split",
    "Uncaptioned",
    "Vocabulary",
    "check_source",
    "crop_square",
    "downscale",
    "find_format",
    "is_prepared_from",
    "load_rules",
    "open_image",
    "planned_content",
    "prepare",
    "prepare_content",
    "prepared_key",
    "read_source",
    "recognise",
    "render_demo",
    "split_words",
]
