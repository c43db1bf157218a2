"""`python -m puna.evals.nano`."""

from puna.evals.nano.card import main

if __name__ == "__main__":
    main()
