"""The nano's card: what it names, counts, places, watches, reads, adds and spells, held out. `python -m puna.evals.nano --task TASK`."""
