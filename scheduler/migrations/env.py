"""Run by Alembic: migrations on the connection, and in the transaction, that `scheduler.database.migrate` holds."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
