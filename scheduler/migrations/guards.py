"""The triggers that refuse illegal moves, whoever writes: taken away before a migration, made anew after it."""

import sqlalchemy as sa

GUARDED = ("stage_runs", "evaluations")
HISTORY = "alias_moves"


def drop_guards(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        # All there are, and not only those that this version makes.
        for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
            connection.exec_driver_sql(f'DROP TRIGGER "{name}"')
        return
    triggers = connection.exec_driver_sql(
        "SELECT tgname, tgrelid::regclass FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
        "WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
    ).all()
    for name, table in triggers:
        connection.exec_driver_sql(f'DROP TRIGGER "{name}" ON {table}')


def create_guards(connection: sa.Connection) -> None:
    create = _sqlite_guards if connection.dialect.name == "sqlite" else _postgres_guards
    for table in GUARDED:
        for statement in create(table):
            connection.exec_driver_sql(statement)
    # A database of a version without models' aliases has no history of them.
    if sa.inspect(connection).has_table(HISTORY):
        for statement in _history_guards(connection.dialect.name):
            connection.exec_driver_sql(statement)


SEALED = "SELECT 1 FROM checkpoints WHERE stage_run_id = NEW.id AND attempt = NEW.attempt AND sealed = 1"
LEGAL = "SELECT 1 FROM moves WHERE moves.old = OLD.state AND moves.new = NEW.state"
BEGINNINGS = "('waiting', 'ready')"


def _messages(table: str) -> dict[str, str]:
    return {
        "moves": f"illegal move of {table}",
        "begin": f"illegal first state of {table}",
        "attempts": f"attempts of {table} only increase",
        "sealed": "a stage run is done only with its sealed checkpoint",
    }


def _sqlite_guards(table: str) -> list[str]:
    def guard(name: str, event: str, refuses: str) -> str:
        return (
            f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table} WHEN {refuses} "
            f"BEGIN SELECT RAISE(ABORT, '{_messages(table)[name]}'); END"
        )

    guards = [
        guard("moves", "UPDATE OF state", f"OLD.state <> NEW.state AND NOT EXISTS ({LEGAL})"),
        guard("begin", "INSERT", f"NEW.state NOT IN {BEGINNINGS}"),
        guard("attempts", "UPDATE OF attempt", "NEW.attempt < OLD.attempt"),
    ]
    if table == "stage_runs":
        guards.append(guard("sealed", "UPDATE OF state", f"NEW.state = 'done' AND NOT EXISTS ({SEALED})"))
    return guards


def _postgres_guards(table: str) -> list[str]:
    """A condition of a trigger must not ask other tables there, so the functions do."""

    def refuse(name: str, *, unless: str | None = None) -> str:
        # The class of integrity errors, as the constraints of the tables raise them.
        error = f"RAISE EXCEPTION '{_messages(table)[name]}' USING ERRCODE = 'check_violation';"
        body = error if unless is None else f"IF NOT EXISTS ({unless}) THEN {error} END IF;"
        return (
            f"CREATE OR REPLACE FUNCTION {table}_{name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {body} RETURN NEW; END $$"
        )

    def guard(name: str, event: str, when: str) -> str:
        return (
            f"CREATE TRIGGER {table}_{name} BEFORE {event} ON {table} "
            f"FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {table}_{name}()"
        )

    guards = [
        refuse("moves", unless=LEGAL),
        guard("moves", "UPDATE OF state", "OLD.state <> NEW.state"),
        refuse("begin"),
        guard("begin", "INSERT", f"NEW.state NOT IN {BEGINNINGS}"),
        refuse("attempts"),
        guard("attempts", "UPDATE OF attempt", "NEW.attempt < OLD.attempt"),
    ]
    if table == "stage_runs":
        guards += [refuse("sealed", unless=SEALED), guard("sealed", "UPDATE OF state", "NEW.state = 'done'")]
    return guards


def _history_guards(dialect: str) -> list[str]:
    """The history of aliases is never changed, only added to, and deleted together with a version."""
    said, trigger = "the history of aliases is append-only", f"{HISTORY}_stay"
    if dialect == "sqlite":
        return [f"CREATE TRIGGER {trigger} BEFORE UPDATE ON {HISTORY} BEGIN SELECT RAISE(ABORT, '{said}'); END"]
    return [
        f"CREATE OR REPLACE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{said}' USING ERRCODE = 'check_violation'; END $$",
        f"CREATE TRIGGER {trigger} BEFORE UPDATE ON {HISTORY} FOR EACH ROW EXECUTE FUNCTION {trigger}()",
    ]
