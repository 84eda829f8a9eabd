"""The parent's side of drawing, with small stand-in processes; test_drawing.py has the real one."""

import sys
import threading
import time
from pathlib import Path

import pytest

from dashboard.generation import DrawRequest, GenerationBusyError, GenerationFailedError, Generator
from t2f.errors import UserError

STAND_IN = """
import json, os, sys, time
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
while True:
    try:
        request = json.loads(connection.recv_bytes())
    except EOFError:
        break
    sentence = request["sentence"]
    if sentence == "crash":
        os._exit(7)
    if sentence == "sleep":
        time.sleep(60)
    if sentence == "wait":
        time.sleep(0.5)
    if sentence == "wrong":
        connection.send_bytes(json.dumps({"error": "no words"}).encode())
        continue
    connection.send_bytes(json.dumps({"unknown_words": {"x": None}, "resolution": 4}).encode())
    connection.send_bytes(str(os.getpid()).encode())
"""


def request(sentence: str) -> DrawRequest:
    return DrawRequest(bundle=Path("x"), sha256="0", sentence=sentence, seeds=(1, 2))


@pytest.fixture
def generator():
    made = Generator(timeout_seconds=2.0, max_waiting=1, command=(sys.executable, "-c", STAND_IN))
    yield made
    made.close()


def test_one_process_serves_all_requests(generator: Generator) -> None:
    first, second = generator.draw(request("a")), generator.draw(request("b"))
    assert first.png == second.png  # the stand-in's process id
    assert (first.faces, first.resolution, first.unknown_words) == (2, 4, {"x": None})


def test_a_user_error_is_handed_on_and_the_process_stays(generator: Generator) -> None:
    before = generator.draw(request("a")).png
    with pytest.raises(UserError, match="no words"):
        generator.draw(request("wrong"))
    assert generator.draw(request("a")).png == before


def test_a_crash_costs_one_request(generator: Generator) -> None:
    before = generator.draw(request("a")).png
    with pytest.raises(GenerationFailedError, match="status 7"):
        generator.draw(request("crash"))
    assert generator.draw(request("a")).png != before


def test_a_slow_model_is_ended(generator: Generator) -> None:
    with pytest.raises(GenerationFailedError, match="not drawn within 2 s"):
        generator.draw(request("sleep"))
    assert generator.draw(request("a")).faces == 2


def test_beyond_those_that_wait_requests_are_refused(generator: Generator) -> None:
    generator.draw(request("a"))
    threads = [threading.Thread(target=generator.draw, args=(request("wait"),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    with pytest.raises(GenerationBusyError):
        generator.draw(request("a"))
    for thread in threads:
        thread.join()
    assert generator.draw(request("a")).faces == 2


def test_the_process_ends_with_the_generator(generator: Generator) -> None:
    process_id = int(generator.draw(request("a")).png)
    generator.close()
    assert not Path(f"/proc/{process_id}").exists()
