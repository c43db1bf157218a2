"""`python -m puna` is the same program as `puna`."""

from puna.cli.main import app

app()
