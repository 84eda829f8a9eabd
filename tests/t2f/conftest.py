"""Commands as a user types them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scheduler.cli import main


@pytest.fixture
def t2f(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """What a command prints; with code=2 what it refuses with."""
    monkeypatch.setenv("T2F_HOME", str(tmp_path / "home"))

    def run(*words: object, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["t2f", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.out + said.err
        return said.out if code == 0 else said.err

    return run
