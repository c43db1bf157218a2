"""What `decode.py`, `prefill.py` and `batched.py` share: the reference shapes, the contestants, the machine's limits, rounds in turns."""
