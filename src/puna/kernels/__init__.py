"""Ops with a specification: one folder each, `reference.py` (plain torch, fp32 inside) beside the fast versions. Knows no models."""
