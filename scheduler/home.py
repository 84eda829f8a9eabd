"""The home folder: where the database, prepared data, files and logs of one installation lie."""

from dataclasses import dataclass
from pathlib import Path

from scheduler.database import Database, open_database, sqlite_url
from scheduler.schema import migrate
from t2f.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Home:
    path: Path

    @property
    def database_url(self) -> str:
        return sqlite_url(self.path / "t2f.sqlite")

    @property
    def data(self) -> Path:
        """Prepared data sets, a folder each."""
        return self.path / "data"

    @property
    def files(self) -> Path:
        """Checkpoints, samples and models."""
        return self.path / "files"

    def create(self) -> Database:
        """The database, made or brought up to date; the folder is made if it is missing."""
        self.path.mkdir(parents=True, exist_ok=True)
        database = open_database(self.database_url)
        migrate(database)
        return database

    def open(self) -> Database:
        """The database of a home that exists; UserError where there is none, so that reading never writes."""
        if not (self.path / "t2f.sqlite").exists():
            raise UserError(
                f"{self.path} holds no database; run `t2f up` or `t2f sweep submit` there, or give --home FOLDER"
            )
        return self.create()
