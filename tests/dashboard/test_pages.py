"""Every page and every address of the API, on a half-finished sweep, and everything bad that can be sent to them."""

import json
import re
import time

import pytest
import sqlalchemy as sa

from dashboard.app import create_app
from scheduler import model_reads, tables
from scheduler.home import Home
from scheduler.store import Store
from scheduler.tables import evaluations
from tests.dashboard.client import Client
from tests.dashboard.conftest import fill
from tests.dashboard.fill import Filler, fill_large


def test_the_start_page_lists_sweeps_with_their_progress(client):
    page = client.get("/").text
    assert "demo" in page
    assert "running" in page
    found = client.get("/api/v1/sweeps").json()["sweeps"]
    assert [(one["name"], one["trials"]) for one in found] == [("demo", 6)]
    assert found[0]["trials_by_state"] == {"pruned": 2, "running": 4}


def test_a_sweep_shows_its_trials_best_first(client):
    page = client.get("/sweeps/demo").text
    found = client.get("/api/v1/sweeps/demo").json()
    order = [trial["number"] for trial in found["ranking"]]
    assert order[0] == 4
    assert [trial["rank"] for trial in found["ranking"]] == [1, 2, 3, 4, 5, 6]
    assert found["ranking"][0]["is_best"]
    assert [page.index(f">T{number}<") for number in order] == sorted(page.index(f">T{number}<") for number in order)
    assert "shared by 3 trials" in page
    assert "16 px: rank" in page, "why a trial was pruned"
    assert found["varying"] == ["loss.name", "generator.learning_rate"]
    assert found["sharing"]["wanted"] - found["sharing"]["stage_runs"] == 8


def test_a_trial_shows_every_stage(client):
    page = client.get("/sweeps/demo/trials/4").text
    for px in (4, 8, 16, 32):
        assert f"{px} px" in page
    assert "a woman with long blond hair and glasses" in page
    assert "<svg" in page, "curves"
    found = client.get("/api/v1/sweeps/demo/trials/1").json()
    assert [stage["resolution"] for stage in found["stages"]] == [4, 8, 16, 32]
    assert [attempt["outcome"] for attempt in found["stages"][0]["attempts"]] == ["lost", "done"]
    assert found["stages"][0]["curves"]["loss_d"]


def test_the_judge_says_what_it_can_do_beside_what_it_said(client):
    page = client.get("/sweeps/demo/trials/4").text
    assert "The judge's own R-precision on real held-out pairs: 0.910 (0.880–0.940), 1 against 99, chance 1%." in page
    assert "judge_r_precision" not in page
    found = client.get("/api/v1/sweeps/demo/trials/4").json()
    assert found["judge"]["value"] == 0.91
    assert "closed_gates" not in {part["name"] for part in found["parts"]}
    assert next(part for part in found["parts"] if part["name"] == "r_precision")["note"] == "1 against 99, chance 1%"


def test_what_is_behind_a_gate_has_no_rank_and_says_why(client, place):
    best = client.get("/api/v1/sweeps/demo").json()["ranking"][0]
    database = place.open()
    with database.write.begin() as connection:
        mine = evaluations.c.stage_run_id == best["stage_runs"][-1]
        (metrics,) = connection.execute(sa.select(evaluations.c.metrics).where(mine)).scalars()
        metrics = {**metrics, "closed_gates": {"value": 1.0, "low": None, "high": None, "note": "copies"}}
        connection.execute(sa.update(evaluations).where(mine).values(metrics=metrics))
    database.close()
    found = client.get("/api/v1/sweeps/demo").json()
    behind = next(trial for trial in found["ranking"] if trial["number"] == best["number"])
    assert (behind["rank"], behind["closed_gates"]) == (None, ["copies"])
    assert found["ranking"][0]["number"] != best["number"]
    assert found["best_trial"] == found["ranking"][0]["name"], "the list of sweeps chooses as the ranking does"
    page = client.get(f"/sweeps/demo/trials/{best['number']}").text
    assert "Not ranked: it returns training images (gate: copies)." in page
    assert "not ranked: it returns training images (gate: copies)" in client.get("/sweeps/demo").text


def test_the_best_is_that_of_the_sweep_s_own_metric(client, place):
    database = place.open()
    with database.write.begin() as connection:
        (resolved,) = connection.execute(sa.select(tables.sweeps.c.resolved)).scalars()
        resolved = {**resolved, "metric": "swd", "goal": "minimize"}
        connection.execute(sa.update(tables.sweeps).values(resolved=resolved))
        second = client.get("/api/v1/sweeps/demo/trials/5").json()
        mine = evaluations.c.stage_run_id == second["stage_runs"][-1]
        (metrics,) = connection.execute(sa.select(evaluations.c.metrics).where(mine)).scalars()
        connection.execute(sa.update(evaluations).where(mine).values(metrics={**metrics, "swd": {"value": 0.123}}))
    database.close()
    found = client.get("/api/v1/sweeps/demo").json()
    assert found["ranking"][0]["name"] == found["best_trial"] == "demo/T5"
    assert (found["metric"], found["best_value"]) == ("swd", 0.123)
    assert "<dt>Best SWD</dt><dd>0.123" in client.get("/sweeps/demo").text
    assert "SWD</span> <strong>0.123</strong>" in client.get("/").text


def test_the_best_of_several_objectives_is_the_ranking_s_first(client, place):
    last = client.get("/api/v1/sweeps/demo/trials/5").json()["stage_runs"][-1]
    database = place.open()
    with database.write.begin() as connection:
        (resolved,) = connection.execute(sa.select(tables.sweeps.c.resolved)).scalars()
        wanted = [{"metric": "text", "goal": "maximize"}, {"metric": "swd", "goal": "minimize"}]
        connection.execute(sa.update(tables.sweeps).values(resolved={**resolved, "objectives": wanted}))
        for row in connection.execute(sa.select(evaluations.c.id, evaluations.c.stage_run_id, evaluations.c.metrics)):
            swd = 1.0 if row.stage_run_id == last else 9.0
            metrics = {**row.metrics, "text": {"value": 0.0}, "swd": {"value": swd}}
            connection.execute(sa.update(evaluations).where(evaluations.c.id == row.id).values(metrics=metrics))
    database.close()
    found = client.get("/api/v1/sweeps/demo").json()
    assert found["ranking"][0]["name"] == found["best_trial"] == "demo/T5"


def test_a_trial_says_why_it_ended_and_not_why_it_once_did(client, place):
    database = place.open()
    with database.write.begin() as connection:
        (sweep,) = connection.scalars(sa.select(tables.sweeps.c.id))
        ids = dict(connection.execute(sa.select(tables.trials.c.number, tables.trials.c.id)).all())
        filler = Filler(connection, place.files, time.time())
        filler.update("trials", ids[3], state="running")  # it was pruned, and promoted
        filler.update("trials", ids[2], state="canceled")
        filler.event("trial.canceled", sweep, ids[2], reason="the sweep's budget: its wall time of 1h is over")
        filler.update("trials", ids[1], state="canceled")
        filler.event("trial.canceled", sweep, ids[1], reason="canceled")
    database.close()
    said = {one["number"]: one["reason"] for one in client.get("/api/v1/sweeps/demo").json()["ranking"]}
    assert (said[1], said[2], said[3]) == (None, "the sweep's budget: its wall time of 1h is over", None)
    assert said[6].startswith("16 px: rank 6 of 6")
    assert "its wall time of 1h is over" in client.get("/sweeps/demo/trials/2").text
    assert "16 px: rank" not in client.get("/sweeps/demo/trials/3").text


def test_what_an_own_loop_told_is_shown(client, place):
    database = place.open()
    with database.write.begin() as connection:
        filler = Filler(connection, place.files, time.time())
        sweep = filler.sweep("mine", state="complete")
        (resolved,) = connection.scalars(sa.select(tables.sweeps.c.resolved).where(tables.sweeps.c.id == sweep))
        resolved = {**resolved, "metric": "swd", "goal": "minimize", "own_loop": True}
        filler.update("sweeps", sweep, resolved=resolved)
        for number, told in enumerate((0.25, 0.125, None)):
            trial = filler.trial(sweep, number, {"loss.drift": number}, state="failed" if told is None else "complete")
            filler.update("trials", trial, attributes={} if told is None else {"told": {"swd": told}})
    database.close()
    found = client.get("/api/v1/sweeps/mine").json()
    assert [(one["number"], one["rank"]) for one in found["ranking"]] == [(1, 1), (0, 2), (2, None)]
    assert (found["best_trial"], found["best_value"]) == ("mine/T1", 0.125)
    assert found["own_loop"] is True
    page = client.get("/sweeps/mine").text
    assert "<dt>SWD</dt><dd>0.125</dd>" in page
    assert "Saved by sharing" not in page, "it has no stage runs"
    assert "its owner's loop" in client.get("/").text
    page = client.get("/sweeps/mine/trials/1").text
    assert "<dt>SWD</dt><dd>0.125</dd>" in page
    assert "Told by the loop that trains it." in page


def test_what_is_best_of_several_told_objectives_is_the_ranking_s_first(client, place):
    database = place.open()
    with database.write.begin() as connection:
        filler = Filler(connection, place.files, time.time())
        sweep = filler.sweep("mine", state="complete")
        (resolved,) = connection.scalars(sa.select(tables.sweeps.c.resolved).where(tables.sweeps.c.id == sweep))
        wanted = [{"metric": "text", "goal": "maximize"}, {"metric": "swd", "goal": "minimize"}]
        filler.update("sweeps", sweep, resolved={**resolved, "objectives": wanted, "own_loop": True})
        for number, swd in enumerate((9.0, 1.0)):
            trial = filler.trial(sweep, number, {"loss.drift": number}, state="complete")
            filler.update("trials", trial, attributes={"told": {"text": 0.5, "swd": swd}})
    database.close()
    found = client.get("/api/v1/sweeps/mine").json()
    assert found["ranking"][0]["name"] == found["best_trial"] == "mine/T1"


def test_workers_are_a_plain_table(client):
    page = client.get("/workers").text
    for word in ("worker-2", "desk", "812", "32 px", "lost"):
        assert word in page, word
    names = [worker["name"] for worker in client.get("/api/v1/workers").json()["workers"]]
    assert sorted(names) == ["worker-1", "worker-2", "worker-3"]


def test_a_worker_shows_its_labels_and_a_sweep_whose_labels_nobody_has_says_so(client, place):
    database = place.open()
    with database.write.begin() as connection:
        connection.execute(tables.workers.update().values(labels={"pool": "h100", "zone": "<b>"}))
        demo = tables.sweeps.c.name == "demo"
        connection.execute(tables.sweeps.update().where(demo).values(labels={"pool": "a100"}, state="running"))
    database.close()
    why = "no worker has pool=a100; workers have pool=h100, zone=<b> (2)"
    assert "pool=h100, zone=&lt;b&gt;" in client.get("/workers").text
    assert {worker["labels"]["pool"] for worker in client.get("/api/v1/workers").json()["workers"]} == {"h100"}
    found = client.get("/api/v1/sweeps/demo").json()
    assert (found["labels"], found["waits"]) == ({"pool": "a100"}, why)
    for page in ("/", "/sweeps/demo"):
        assert "aiting: no worker has pool=a100; workers have pool=h100, zone=&lt;b&gt; (2)" in client.get(page).text
    assert "<dd>pool=a100</dd>" in client.get("/sweeps/demo").text


def test_samples_are_served_by_id_and_cached(client):
    addresses = set(re.findall(r'(?:src|href)="(/samples/[^"]+)"', client.get("/sweeps/demo").text))
    assert addresses
    for address in addresses:
        answer = client.get(address.replace("&amp;", "&"))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/png"
        assert answer.content.startswith(b"\x89PNG")
    again = client.get(address, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


def test_a_face_from_a_sentence(client):
    wish = {"sentence": "a person with curly redd hair", "faces": 3, "seed": 5}
    answer = client.post("/api/v1/generate", json=wish)
    assert answer.status_code == 200
    found = answer.json()
    assert found["unknown_words"] == {"redd": "red"}
    assert client.get(found["picture"]).content.startswith(b"\x89PNG")
    form = client.post("/generate", data={"sentence": "curly red hair", "faces": "2", "seed": "1"})
    assert form.status_code == 303
    assert "curly red hair" in client.get(form.headers["location"]).text


def test_a_model_shows_its_card(client, place):
    page = client.get("/models/1").text
    for words in ("not evidence", "0.714", "24,000 captions", "light, rules cccccccccccc", "demo/T4", "hair colour"):
        assert words in page, words
    assert 'href="/models/1"' in client.get("/generate").text
    (model,) = client.get("/api/v1/models").json()["models"]
    found = client.get(f"/api/v1/models/{model['id']}").json()
    assert found["model"] == model
    assert found["card"]["scores"]["score"]["value"] == 0.714
    assert [stage["resolution"] for stage in found["lineage"]["stages"]] == [4, 8, 16, 32]
    assert (found["lineage"]["data_key"], found["lineage"]["numerics"]) == (
        "d" * 64,
        ["cpu AVX2 | torch 2.13.0 | 1 thread"],
    )
    for address in ("/models/999", "/models/x", "/api/v1/models/999", "/api/v1/models/-1"):
        assert 400 <= client.get(address).status_code < 500
    assert [move["alias"] for move in found["lineage"]["alias_history"]] == ["best"]
    (place.files / "models" / "demo.safetensors").write_bytes(b"\x80\x04pickle")
    assert client.get("/models/1").status_code == 422
    assert "cannot be read" in client.get("/api/v1/models/1").json()["error"]
    (place.files / "models" / "demo.safetensors").unlink()
    assert client.get("/models/1").status_code == 404


def test_a_model_shows_its_versions_and_who_moved_its_aliases(client, place):
    store = Store(place.open())
    (model,) = model_reads.models(store.database)
    store.move_alias(model.id, "champion", by="<b>ann</b>")
    second = {"trial_id": model.trial_id, "stage_run_id": model.stage_run_id, "uri": "models/other", "sha256": "x"}
    store.register_model(name="demo", **second, aliases=["champion"], by="bob")
    store.roll_back_alias("demo", "champion", by="bob")
    store.tag_model(model.id, add=["reviewed"])
    page = client.get("/models/1").text
    for words in (
        'href="/models/2">v2',
        "champion rolled back to v1 by bob",
        "champion promoted to v1 by &lt;b&gt;ann&lt;/b&gt;",
        '<span class="badge">reviewed</span>',
        'href="/sweeps/demo"',
        "dddddddddddd",
    ):
        assert words in page, words
    store.database.close()


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({}, 422),
        ({"sentence": ""}, 422),
        ({"sentence": "x" * 5000}, 422),
        ({"sentence": "?!", "faces": 0}, 422),
        ({"sentence": "hair", "faces": 10**6}, 422),
        ({"sentence": "hair", "seed": -1}, 422),
        ({"sentence": "hair", "seed": 2**40}, 422),
        ({"sentence": "hair", "model": 10**6}, 404),
        ({"sentence": "hair", "faces": "many"}, 422),
        ({"sentence": "hair\ud800"}, 422),
    ],
    ids=str,
)
def test_wishes_that_cannot_be_drawn(client, wish, status):
    answer = client.post("/api/v1/generate", content=json.dumps(wish), headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "address",
    [
        "/sweeps/nope",
        "/sweeps/demo/trials/999",
        "/sweeps/demo/trials/0x1",
        "/sweeps/demo/trials/99999999999999999999",
        "/sweeps/demo/trials/-1",
        "/sweeps/..%2f..%2fetc",
        "/samples/999999.png",
        "/samples/../../etc/passwd",
        "/samples/%2e%2e%2f%2e%2e%2fetc%2fpasswd.png",
        "/samples/%252e%252e/1.png",
        "/samples/1%00.png",
        "/samples/..\\..\\x.png",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/nothing/here",
        "/?limit=-1",
        "/?limit=1000000000",
        "/?offset=-1",
        "/api/v1/sweeps?limit=-1",
        "/api/v1/sweeps?limit=1000000000",
        "/api/v1/sweeps/demo?offset=x",
        "/sweeps/demo/trials/1?stage=x",
    ],
)
def test_bad_addresses_get_a_4xx_and_a_sentence(client, address):
    answer = client.get(address)
    assert 400 <= answer.status_code < 500, answer.status_code
    assert answer.text
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text


def test_names_from_outside_are_shown_as_text(tmp_path):
    place = Home(path=tmp_path / "home")
    database = place.create()
    evil = "<script>alert(1)</script>"

    def write(connection) -> None:
        filler = Filler(connection, place.files, time.time())
        sweep = filler.sweep(evil, error="=cmd()'; DROP TABLE sweeps; --")
        filler.trial(sweep, 0, {"loss.name": evil})
        filler.worker(evil)

    fill(database, write)
    client = Client(create_app(place.path, database, port=8250))
    for address in ("/", "/sweeps/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/workers"):
        assert evil not in client.get(address).text
    assert "&lt;script&gt;" in client.get("/").text
    database.close()


def test_an_empty_home_has_pages_too(tmp_path):
    place = Home(path=tmp_path / "home")
    database = place.create()
    client = Client(create_app(place.path, database, port=8250))
    for address in ("/", "/workers", "/generate"):
        assert client.get(address).status_code == 200
    assert client.post("/api/v1/generate", json={"sentence": "hair"}).status_code == 409
    database.close()


def test_a_hundred_trials_take_few_queries(tmp_path):
    place = Home(path=tmp_path / "home")
    database = place.create()
    fill(database, lambda connection: fill_large(connection, place.files))
    counted = []
    sa.event.listen(database.read, "before_cursor_execute", lambda *_: counted.append(1))
    client = Client(create_app(place.path, database, port=8250))
    page = client.get("/sweeps/large")
    assert page.status_code == 200
    assert page.text.count("<tr") > 90
    assert len(counted) < 25
    database.close()
