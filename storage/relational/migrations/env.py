"""Alembic's entry: migrates the tables of accounts over the connection that ``engine.py`` hands in."""

from __future__ import annotations

from alembic import context

from storage.relational.models import VERSION_TABLE, Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite cannot alter most of a table in place
)
with context.begin_transaction():
    context.run_migrations()
