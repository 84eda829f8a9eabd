"""The home folder: where the database, prepared data, files and logs of one installation lie."""

import os
from dataclasses import dataclass
from pathlib import Path

from scheduler.database import Database, open_database, sqlite_path, sqlite_url
from scheduler.schema import migrate, revision
from t2f.data.files import sync
from t2f.errors import UserError

# Comes before what the home says; for machines that share no home, and for tests of another database.
DATABASE_VARIABLE = "T2F_DATABASE"


@dataclass(frozen=True, kw_only=True)
class Home:
    path: Path

    @property
    def database_url(self) -> str:
        """T2F_DATABASE, else the line in the home's `database.url`, else the home's own SQLite. May hold a password."""
        return os.environ.get(DATABASE_VARIABLE) or self._line() or self.sqlite_url

    @property
    def sqlite_url(self) -> str:
        return sqlite_url(self.path / "t2f.sqlite")

    @property
    def data(self) -> Path:
        """Prepared data sets, a folder each."""
        return self.path / "data"

    @property
    def files(self) -> Path:
        """Checkpoints, samples and models."""
        return self.path / "files"

    @property
    def has_database(self) -> bool:
        """Whether there is one to open; a PostgreSQL's server may still say no."""
        path = sqlite_path(self.database_url)
        return path is None or path.exists()

    def create(self) -> Database:
        """The database, made or brought up to date; the folder is made if it is missing."""
        self.path.mkdir(parents=True, exist_ok=True)
        database = open_database(self.database_url)
        migrate(database)
        return database

    def open(self) -> Database:
        """The database, brought up to date; UserError where there is none yet, so that reading makes none."""
        if not self.has_database:
            raise UserError(
                f"{self.path} holds no database; run `t2f up` or `t2f sweep submit` there, or give --home FOLDER"
            )
        database = open_database(self.database_url)
        if database.is_postgres and revision(database) is None:
            raise UserError(
                f"the database {database.shown_url} has no tables yet; `t2f up`, `t2f sweep submit` and "
                "`t2f db upgrade` make them"
            )
        migrate(database)
        return database

    def use(self, url: str) -> None:
        """Keep the database at this URL from now on; UserError where it cannot be opened or is newer.

        The line is readable by its owner only: it may hold a password.
        """
        database = open_database(url)
        try:
            revision(database)
        finally:
            database.close()
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.path / ".database.url.draft"
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{url}\n")
        sync(draft)
        draft.rename(self._line_path)
        sync(self.path)

    @property
    def _line_path(self) -> Path:
        return self.path / "database.url"

    def _line(self) -> str:
        try:
            return self._line_path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self._line_path} cannot be read: {error}") from error
