"""Random secrets of a home, each in a file that only its owner can read."""

import os
import secrets
from pathlib import Path


def token_file(path: Path) -> Path:
    """The file, with a fresh token in it where there was none; its folder is made too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.resolve()
    if not path.exists():
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(draft, path)  # of two at once the first one's stays, and is whole when it is seen
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path
