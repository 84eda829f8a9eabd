"""Evaluating a model from the command line: what `t2f evaluate` shares for bundles and for trials of a sweep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from t2f.cli import bar, checked_name, console, print_json
from t2f.data import PreparedData
from t2f.data.readers import SPLITS
from t2f.errors import DataError, UserError
from t2f.gates import MEANING
from t2f.metrics.figures import decimals, interval_text
from t2f.probe import NO_JUDGE
from t2f.threads import quiet_threads
from t2f.trainfile import ProbeSection

BETTER_SIGN = {"higher": "↑", "lower": "↓", "neither": ""}

if TYPE_CHECKING:
    from t2f.networks import FaceModel
    from t2f.probe import EvaluationSpec
    from t2f.reading import Reader
    from t2f.report import Report


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What the command was told."""

    metrics: Sequence[str]
    split: str | None  # None: validation, or train where there is no validation split
    images: int
    inception: Path | None
    clip: Path | None
    as_json: bool
    dry_run: bool

    def __post_init__(self) -> None:
        if self.split is not None and self.split not in SPLITS:
            raise UserError(f"--split {self.split} is not known; allowed: {', '.join(SPLITS)}")
        if not 16 <= self.images <= 100_000:
            raise UserError(f"--images {self.images} is not allowed; it must be from 16 to 100000")
        if self.inception is not None and not self.inception.is_file():
            raise UserError(f"--inception {self.inception} does not exist; give a file with Inception's weights")
        if self.clip is not None and not self.clip.is_dir():
            raise UserError(f"--clip {self.clip} is no folder; give one with a CLIP's config.json and weights")

    def spec(self, data: PreparedData, judge_sha256: str) -> "EvaluationSpec":
        """What is measured; nothing is drawn for a wall."""
        spec = ProbeSection(images=self.images, seeds=1).evaluation(data, judge_sha256)
        if self.split is None:
            return spec
        if data.split(self.split).size < 2:
            raise DataError(
                f"the {self.split} split of {data.name} has {data.split(self.split).size} images; 2 are needed"
            )
        return replace(spec, split=self.split)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is evaluated: a model that is opened only when its turn comes, for importing torch takes a second."""

    name: str
    resolution: int
    data: PreparedData
    note: str | None = None  # what a reader must know
    open: "Callable[[], tuple[FaceModel, Reader]]"


def bundle_subject(path: Path, home: Path, data_name: str | None) -> Subject:
    """A model bundle and the prepared data it is measured on: that of its training, unless another is named."""
    # Only evaluating waits for torch.
    from t2f.generate import open_bundle
    from t2f.reading import data_reader

    bundle = open_bundle(path)
    known = data_name or bundle.lineage.get("data")
    if known is None:
        raise UserError(f"{path} does not say which data it comes from; name a prepared data set with --data")
    data = PreparedData.open(home / "data" / checked_name(known))
    is_own = data.key == bundle.lineage.get("data_key")
    if data_name is None and not is_own:
        raise DataError(
            f"the data set {known!r} in {home} is not the one that {path} was trained on; prepare that one again, or "
            f"say --data {known} to measure the model on this one"
        )
    note = None
    if data.has_captions and bundle.reads_words and not is_own:
        note = f"it was trained on other data than {known}, and reads {known}'s captions with the words it knows"
    reader = data_reader(bundle.stage, data) if is_own else SentencesOfSplit(bundle.reader)
    return Subject(
        name=str(path), resolution=bundle.resolution, data=data, note=note, open=lambda: (bundle.model, reader)
    )


class SentencesOfSplit:
    """Reads captions of foreign data as sentences: their token ids are of another vocabulary."""

    def __init__(self, reader: "Reader") -> None:
        self._reader = reader

    def of_split(self, split, captions_N):
        return self._reader.of_sentences([split.captions[caption] for caption in captions_N])

    def of_sentences(self, sentences):
        return self._reader.of_sentences(sentences)


def evaluate_subject(subject: Subject, options: EvaluateOptions) -> None:
    """Measure and print; a dry run says what would be measured."""
    # Only evaluating waits for torch.
    from t2f.judge import load_judge
    from t2f.metrics.brought import Brought
    from t2f.metrics.clip import Clip
    from t2f.metrics.inception import Inception
    from t2f.report import chosen_metrics, make_report

    quiet_threads()
    judge, judge_sha256 = load_judge(subject.data)
    spec = options.spec(subject.data, judge_sha256)
    metrics = chosen_metrics(options.metrics)
    subject.data.split(spec.split).images(subject.resolution)  # refused before anything is drawn
    if options.dry_run:
        console.print(
            f"would draw {spec.num_images} faces of {subject.resolution} px with {subject.name} for the {spec.split} "
            f"split of {subject.data.name} and measure {', '.join(metric.name for metric in metrics)}"
        )
        return
    model, reader = subject.open()
    brought = Brought(
        inception=None if options.inception is None else Inception.open(options.inception),
        clip=None if options.clip is None else Clip.open(options.clip),
    )

    with bar("evaluating", quiet=options.as_json) as progress:
        report = make_report(
            model,
            resolution=subject.resolution,
            data=subject.data,
            judge=judge,
            reader=reader,
            spec=spec,
            names=options.metrics,
            brought=brought,
            progress=progress,
        )
    if options.as_json:
        print_json(report_json(subject, report))
    else:
        print_report(subject, report)


def report_json(subject: Subject, report: "Report") -> dict[str, Any]:
    return {"model": subject.name, "data": subject.data.name, "note": subject.note, **report.to_json()}


def print_report(subject: Subject, report: "Report") -> None:
    console.print(
        f"{subject.name} at {report.resolution} px: {report.num_images} faces for the {report.split} split of "
        f"{subject.data.name}"
    )
    if subject.note is not None:
        console.print(subject.note)
    if report.split == "test":
        console.print(
            "the TEST split: it is for the one model that was chosen; choosing by it makes its figures too good"
        )
    if report.split == "train":
        console.print("the TRAINING split: the model has seen these images, so its figures are too good")
    judge = {"sha256": report.judge_sha256, "r_precision": report.judge and report.judge.to_json()}
    console.print(judge_line(judge))
    # Names are never cut: what has no room in 80 columns stands under the table.
    table = Table(box=SIMPLE_HEAD)
    for heading in ("figure", "", "value", "95 % interval", "reals", "untrained"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "figure" else "right")
    for line in report.lines:
        if line.figure is None:
            continue
        interval = interval_text(line.figure.low, line.figure.high)
        bounds = ["" if bound is None else decimals(bound) for bound in (line.floor, line.ceiling)]
        table.add_row(line.name, BETTER_SIGN[line.better], decimals(line.figure.value), interval, *bounds)
    console.print(table)
    console.print("↑ more is better, ↓ less is better; reals: real pictures measured the same way")
    for line in report.lines:
        note = line.reason if line.figure is None else line.figure.note
        if note:
            console.print(f"{line.name}: {note}")
    if report.gates is not None:
        console.print(gates_line(report.gates))


def judge_line(judge: dict[str, Any]) -> str:
    """What the judge itself can do, to be said wherever it has judged."""
    if judge["sha256"] == NO_JUDGE:
        return "no judge: the data has no captions"
    figure = judge["r_precision"]
    if figure is None:
        return f"judge {judge['sha256'][:12]}: its R-precision on real pairs is not known"
    interval = "" if figure["low"] is None else f" ({interval_text(figure['low'], figure['high'])})"
    return (
        f"judge {judge['sha256'][:12]}: R-precision on real held-out pairs {decimals(figure['value'])}{interval}, "
        f"{figure['note']}"
    )


def say_judge(data: PreparedData) -> None:
    """How far the judge of this data is to be trusted, by real pairs that it was not trained on."""
    if not data.has_captions:
        return
    # Only those who have a judge wait for torch.
    from t2f.judge import load_judge
    from t2f.reference import judge_precision

    judge, sha256 = load_judge(data)
    figure = judge_precision(data, judge, split="validation")
    console.print(judge_line({"sha256": sha256, "r_precision": figure and figure.to_json()}))


def gates_line(gates: Sequence[str]) -> str:
    if not gates:
        return "gates: passed"
    return "gates closed: " + "; ".join(f"{name} ({MEANING[name]})" for name in gates)
