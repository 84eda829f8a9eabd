"""Cleaning captions: rules as data, each removal with its category."""

from t2f.data.cleaning.cleaner import MODES, Cleaned, clean
from t2f.data.cleaning.draft import Removal
from t2f.data.cleaning.options import Cleaning
from t2f.data.cleaning.rules import CATEGORIES, CleaningRules, load_rules

__all__ = ["CATEGORIES", "MODES", "Cleaned", "Cleaning", "CleaningRules", "Removal", "clean", "load_rules"]
