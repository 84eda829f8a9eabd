"""What sweeps' and trials' names stand for: bundles and trainings, made from real checkpoints."""

import pytest

from scheduler import reads, settling, submitting
from scheduler.home import Home
from scheduler.models import NamedModels
from scheduler.store import Store
from scheduler.sweepfile import read_sweep
from t2f.card import read_card
from t2f.data import PreparedData
from t2f.errors import DataError, UserError
from t2f.generate import open_bundle
from t2f.judge import load_judge
from t2f.spec import StageSpec
from t2f.timelapse import frames_of
from t2f.trainer import StageTrainer
from t2f.trainfile import Section
from t2f.yamlfile import parse_yaml
from tests.scheduler.acting import claim, finish, start
from tests.scheduler.conftest import DEMO_LIKE
from workers.attempt import save_checkpoint
from workers.files import Files, checkpoint_uri


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_data) -> Home:
    """A sweep whose trial T0 has its stages of 4 and 8 px sealed, with a checkpoint in the midst of 8 px."""
    home = Home(path=tmp_path_factory.mktemp("place"))
    store = Store(home.create())
    home.data.mkdir()
    (home.data / "tiny").symlink_to(tiny_data.path)
    text = DEMO_LIKE.replace("values: [wgan-gp, logistic-r1]", "values: [logistic-r1]").replace(
        "values: [0.001, 0.002, 0.004]", "values: [0.001]"
    )
    resolved = read_sweep(Section(parse_yaml(text, source="test"), "test"), home.path).resolve(
        tiny_data, load_judge(tiny_data)[1]
    )
    submitting.submit_sweep(store, resolved, name="s", submitted=text, data_name="tiny")
    worker = store.register_worker(name="w", node="n", pid=1, device="cpu", share=1.0)
    parent, trained = None, 0
    while trained < 2:
        settling.settle(store, reads.sweep(store.database, "s"))
        job = claim(store, worker, lease=1000)
        start(store, job)
        if job.kind == "train":
            parent = train(store, Files(home.path), job, tiny_data, parent)
            trained += 1
        else:
            finish(store, job)
    store.database.close()
    return home


def train(store, files, job, data, parent):
    """Three steps' worth of a stage, with a checkpoint after the second where there is a parent."""
    trainer = StageTrainer(StageSpec.from_json(job.spec), data, parent=parent)
    while not trainer.position.is_finished:
        trainer.step()
        images = trainer.position.images_seen
        saved = save_checkpoint(files, job, trainer)
        row = {"images": images, "uri": checkpoint_uri(job.stage_run_id, job.attempt, images)}
        row |= {"sha256": saved.sha256, "num_bytes": saved.num_bytes}
        if not trainer.position.is_finished:
            store.add_checkpoint(job.stage_run_id, job.attempt, **row)
    store.seal(job.stage_run_id, job.attempt, weights_sha256=trainer.weights_sha256(), seconds=1.0, **row)
    return {name: tensor.clone() for name, tensor in trainer.state().items()}


def test_a_trial_is_its_last_sealed_stage_or_the_one_that_is_named(place):
    last = NamedModels().model_file("s/T0", place.path)
    assert open_bundle(last).resolution == 8
    assert open_bundle(last).draw(["long pink hair"], seeds=[0]).shape == (1, 3, 8, 8)
    assert NamedModels().model_file("T0@8", place.path) == last
    first = NamedModels().model_file("T0@4", place.path)
    assert open_bundle(first).lineage["trial"] == "s/T0"
    card = read_card(first)
    assert card["data"]["name"] == "tiny"
    assert card["scores"]["score"]["value"] == 0.5
    assert card["scored_on"]["split"] == "validation"


def test_a_trial_grows_through_its_checkpoints(place):
    growth = NamedModels().growth("s/T0", place.path)
    assert [stage.stage.resolution for stage in growth.stages] == [4, 8]
    assert [moment.images for moment in growth.stages[1].moments] == [8, 16, 24, 32, 40]
    assert growth.captions == ("long pink hair", "dark skin")
    frames = list(frames_of(growth, frames_a_stage=3))
    assert [(frame.stage.resolution, frame.images) for frame in frames][-3:] == [(8, 0), (8, 20), (8, 40)]
    growth.stages[1].moments[1].path.unlink()
    fewer = NamedModels().growth("s/T0", place.path)
    assert [moment.images for moment in fewer.stages[1].moments] == [8, 24, 32, 40]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("s", "no best model yet"),
        ("nothing", "neither a file nor a sweep, a model or a trial; sweeps: s"),
        ("s/T9", "no trial"),
        ("T0@64", "has no sealed stage of 64 px; there are: T0@4, T0@8"),
        ("T0@x", "has no sealed stage of x px; there are: T0@4, T0@8"),
        ("Tx", "no trial's name"),
    ],
)
def test_names_of_nothing_are_refused(place, name, said):
    with pytest.raises(UserError, match=said):
        NamedModels().model_file(name, place.path)


def test_without_a_database_a_word_is_a_file_that_is_missing(tmp_path):
    with pytest.raises(UserError, match="is no file, and .* holds no database"):
        NamedModels().model_file("s", tmp_path)


def test_a_sweep_whose_data_changed_makes_no_models(place, home):
    data = place.data / "tiny"
    target = data.readlink()
    data.unlink()
    data.symlink_to(home / "data" / "bare")
    try:
        with pytest.raises(DataError, match="changed since 's' was submitted"):
            NamedModels().growth("s/T0", place.path)
    finally:
        data.unlink()
        data.symlink_to(target)
        assert PreparedData.open(data).name == "tiny"
