"""Routed experts: sort rows by expert and multiply group by group, beside a twin that runs every expert on every row."""

from puna.kernels.experts.grouped import grouped_experts
from puna.kernels.experts.reference import reference_experts

__all__ = ["grouped_experts", "reference_experts"]
