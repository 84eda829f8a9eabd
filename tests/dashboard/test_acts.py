"""Acts over HTTP on a real sweep: the same answers and the same rows as by the commands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dashboard.acts import TOKEN_FILE, router
from dashboard.app import create_app
from scheduler import Sweep, reads, settling
from scheduler.home import Home
from scheduler.store import Store
from scheduler.tables import events
from tests.dashboard.client import Client
from tests.scheduler.acting import claim, start, work_off
from tests.scheduler.conftest import DEMO_LIKE

PAGE = Path(__file__).parents[2] / "docs" / "http.md"


@pytest.fixture
def place(home: Path, tmp_path: Path) -> Home:
    """A home with the tiny data and the sweep `demo-like`, of which nothing is trained."""
    place = Home(path=tmp_path / "home")
    place.data.mkdir(parents=True)
    (place.data / "tiny").symlink_to(home / "data" / "tiny")
    (tmp_path / "sweep.yaml").write_text(DEMO_LIKE)
    Sweep.load(tmp_path / "sweep.yaml").submit(home=place.path).close()
    return place


class Api:
    """The application of a home, asked as its owner."""

    def __init__(self, place: Home, client: Client) -> None:
        self.place, self.client = place, client
        self.store = Store(place.open())

    def __call__(self, path: str, status: int = 200, **given: Any) -> dict[str, Any]:
        response = self.client.post(f"/api/v1/{path}", json=given, headers=self.token)
        assert response.status_code == status, response.text
        return response.json()

    @property
    def token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.place.path / TOKEN_FILE).read_text()}"}

    def train(self) -> None:
        """Everything that the sweep wants, to its end."""
        worker = self.store.register_worker(name="w", node="n", pid=1, device="cpu", share=1.0)
        while not settling.settle(self.store, sweep := reads.sweep(self.store.database, "demo-like")):
            assert work_off(self.store, worker, score=lambda job: 0.1 + 0.01 * job.stage_run_id)
        settling.end_sweep(self.store, sweep)

    def states(self) -> list[str]:
        sweep = reads.sweep(self.store.database, "demo-like")
        return [str(trial.state) for trial in reads.trials(self.store.database, sweep.id)]


@pytest.fixture
def api(place: Home) -> Iterator[Api]:
    database = place.open()
    app = create_app(place.path, database, port=8250)
    client = Client(app)
    assert client.post("/api/v1/import-wandb", json={}).status_code == 401  # makes the token
    api = Api(place, client)
    yield api
    api.store.database.close()
    app.state.dashboard.studio.generator.close()
    database.close()


def test_every_act_asks_for_the_token_before_anything_else(api: Api):
    assert (api.place.path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
    paths = [route.path for route in router.routes]
    assert len(paths) == 16
    wrong = [{}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {'0' * 64}"}, {"Authorization": "Bearer é"}]
    for path in paths:
        for headers in wrong:
            url = path.replace("{name}", "demo-like").replace("{number}", "0")
            raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
            response = api.client.post(url, json={"dry_run": 1}, headers=raw)
            assert response.status_code == 401, url
            assert response.headers["www-authenticate"] == "Bearer"
            assert f"what {TOKEN_FILE} in the home's folder holds" in response.json()["error"]
    assert api.states() == ["waiting"] * 6


def test_a_form_of_another_site_is_refused_even_with_the_token(api: Api):
    headers = {**api.token, "Origin": "https://evil.example", "Content-Type": "application/json"}
    assert api.client.post("/api/v1/sweeps/demo-like/cancel", headers=headers).status_code == 403


def test_a_sweep_is_paused_resumed_and_stopped(api: Api):
    assert api("sweeps/demo-like/pause") == {"sweep": "demo-like", "state": "paused"}
    assert api("sweeps/demo-like/resume") == {"sweep": "demo-like", "state": "running"}
    assert api("sweeps/demo-like/stop")["state"] == "stopping"
    error = api("sweeps/demo-like/stop", 409)["error"]
    assert error == "the sweep 'demo-like' is stopping already; only a sweep that has not ended can be changed"
    with api.store.database.read.begin() as connection:
        (reason,) = connection.scalars(sa.select(events.c.payload).where(events.c.kind == "sweep.stopping"))
    assert reason["error"].endswith(", HTTP")


def test_a_sweep_is_edited_and_trials_are_enqueued(api: Api):
    words = {"resources.priority": 80, "parameters.loss.name": {"values": ["wgan-gp", "logistic-r1", "hinge"]}}
    dry = api("sweeps/demo-like/edit", set=words, dry_run=True)
    assert (dry["new_trials"], dry["changes"]["resources.priority"]) == (3, [50, 80])
    assert len(api.states()) == 6
    assert api("sweeps/demo-like/edit", set=words) == {**dry, "dry_run": False}
    assert len(api.states()) == 9
    assert "did you mean 'priority'?" in api("sweeps/demo-like/edit", 422, set={"resources.prioriti": 1})["error"]
    added = api("sweeps/demo-like/enqueue", parameters={"generator.learning_rate": 0.002})
    assert added == {"trial": "demo-like/T9", "state": "waiting"}
    assert "0.5" in api("sweeps/demo-like/enqueue", 422, parameters={"generator.learning_rate": 0.5})["error"]
    assert len(api.states()) == 10


def test_a_trial_is_paused_resumed_and_canceled_once(api: Api):
    trial = "sweeps/demo-like/trials/3"
    assert api(f"{trial}/pause") == {"trial": "demo-like/T3", "state": "paused"}
    assert api(f"{trial}/resume")["state"] == "waiting"
    assert "only a paused trial can be resumed" in api(f"{trial}/resume", 409)["error"]
    assert api(f"{trial}/cancel")["state"] == "canceled"
    assert "has not ended can be canceled" in api(f"{trial}/cancel", 409)["error"]
    assert api.states()[3] == "canceled"


def test_a_diverged_trial_is_retried_and_a_stopped_one_promoted(api: Api):
    worker = api.store.register_worker(name="w0", node="n", pid=1, device="cpu", share=1.0)
    settling.settle(api.store, reads.sweep(api.store.database, "demo-like"))
    job = claim(api.store, worker)
    start(api.store, job)
    api.store.report_diverged(job.stage_run_id, job.attempt, evidence={"critic": 1e9})
    api.train()
    broken, pruned = api.states().index("diverged"), api.states().index("pruned")
    assert api(f"sweeps/demo-like/trials/{broken}/retry")["state"] == "running"
    assert api(f"sweeps/demo-like/trials/{pruned}/promote")["state"] == "running"
    assert "only a pruned trial" in api(f"sweeps/demo-like/trials/{broken}/promote", 409)["error"]


def test_trials_grow_from_others(api: Api):
    api.train()
    best = api.states().index("complete")
    trial = f"sweeps/demo-like/trials/{best}"
    clone = api(f"{trial}/clone", set={"discriminator.learning_rate": 0.0007}, dry_run=True)
    trained = {"4": False, "8": False, "16": False}
    assert clone == {"trial": None, "of": f"demo-like/T{best}", "dry_run": True, "trained": trained}
    fork = api(f"{trial}/fork", at=8, set={"generator.learning_rate": 0.0001})
    assert (fork["trial"], fork["trained"]) == ("demo-like/T6", {"4": True, "8": True, "16": False})
    longer = api(f"{trial}/extend", images=80)
    assert (longer["trial"], longer["of"]) == ("demo-like/T7", f"demo-like/T{best}")
    assert "learning" in api(f"{trial}/clone", 422, set={"generator.learning": 1})["error"]
    assert "sealed: 4 px, 8 px, 16 px" in api(f"{trial}/fork", 409, at=32)["error"]
    assert len(api.states()) == 8


def test_a_sweep_is_deleted_once_it_has_ended(api: Api):
    assert "demo-like" in api("sweeps/demo-like/delete", 409)["error"]
    assert len(api.states()) == 6
    api.train()
    dry = api("sweeps/demo-like/delete", dry_run=True)
    assert (dry["trials"], dry["shared_stage_runs"]) == (6, 0)
    assert api("sweeps/demo-like/delete") == {**dry, "dry_run": False}
    assert api("sweeps/demo-like/delete", 404)["error"] == "there is no sweep 'demo-like'"


def test_a_sweep_of_wandb_becomes_a_sweep_file(api: Api):
    text = "method: random\nprogram: train.py\nparameters: {learning_rate: {min: 0.001, max: 0.01}}\n"
    found = api("import-wandb", text=text, dataset="tiny")
    assert "dataset: tiny" in found["text"]
    assert any("program" in note for note in found["notes"])
    assert "not valid YAML" in api("import-wandb", 422, text="a: [")["error"]


@pytest.mark.parametrize(
    ("path", "status", "given"),
    [
        ("sweeps/nobody/pause", 404, {}),
        ("sweeps/demo-like/trials/77/pause", 404, {}),
        ("sweeps/demo-like/trials/x/pause", 422, {}),
        ("sweeps/demo-like/trials/0/clone", 422, {"sett": {}}),
        ("sweeps/demo-like/trials/0/fork", 422, {"at": "x"}),
        ("sweeps/demo-like/trials/0/extend", 409, {"to": 32}),
        ("sweeps/demo-like/edit", 422, {}),
    ],
)
def test_wrong_requests_are_told_why_and_write_nothing(api: Api, path: str, status: int, given: dict):
    before = api.store.database.read.connect().execute(sa.select(events)).all()
    assert api(path, status, **given)["error"]
    assert api.store.database.read.connect().execute(sa.select(events)).all() == before


def test_logs_and_export_are_for_everybody_who_may_look(api: Api):
    api.train()
    logs = api.client.get("/api/v1/sweeps/demo-like/trials/0/logs").json()
    assert (logs["trial"], logs["stage_runs"][0]["resolution"]) == ("demo-like/T0", 4)
    table = api.client.get("/api/v1/sweeps/demo-like/export")
    assert table.headers["content-type"].startswith("text/csv")
    assert len(table.text.splitlines()) == 7
    rows = json.loads(api.client.get("/api/v1/sweeps/demo-like/export?format=json").text)
    assert rows["trials"][0]["trial"] == "demo-like/T0"
    assert api.client.get("/api/v1/sweeps/demo-like/export?format=parquet").status_code == 422
    assert api.client.get("/api/v1/sweeps/nobody/export").status_code == 404


def test_the_page_names_every_address(api: Api):
    text = PAGE.read_text(encoding="utf-8")
    for path, methods in api.client.get("/api/v1/openapi.json").json()["paths"].items():
        if path.startswith("/api/v1/"):
            for method in methods:
                assert f"`{method.upper()} {path.removeprefix('/api/v1')}`" in text, path
