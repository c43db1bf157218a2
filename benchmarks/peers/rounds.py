"""Rounds in turns: in each, every contestant runs once, so that a neighbour on the machine hits all alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Rate = Callable[[int], float]  # of a round, by its number: tokens/s, or what else is better when larger


@dataclass(slots=True)
class Rates:
    """One value a round, of each contestant."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> float:
        return median(self.values[name])

    def ratio(self, name: str, to: str) -> float:
        """Median over rounds of one contestant's rate over another's."""
        return median(a / b for a, b in zip(self.values[name], self.values[to], strict=True))

    def best(self, names: list[str]) -> str:
        return max(names, key=self.__getitem__)

    def figures(self) -> dict[str, Any]:
        return {
            name: {"median": round(self[name], 2), "rounds": [round(value, 2) for value in rates]} for name, rates in self.values.items()
        }


def contest(contestants: Mapping[str, Rate], rounds: int) -> Rates:
    """`rounds` timed rounds. Who needs warming up does so in its own call."""
    rates = Rates({name: [] for name in contestants})
    for place in range(rounds):
        for name, rate in contestants.items():
            rates.values[name].append(rate(place))
    return rates
