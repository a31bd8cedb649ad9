"""Options on a share that pays no dividend: Black-Scholes, and a binomial tree to check it against."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist
from typing import Any

_cumulative = NormalDist().cdf


def price(parameter: dict[str, Any]) -> dict[str, float]:
    """Prices at ``spot``, ``strike``, ``rate``, ``sigma`` and ``maturity`` (years; a year's rates).

    ``call`` and ``put`` are European, by the closed form. ``tree_put`` is the same put from a
    Cox-Ross-Rubinstein tree of ``steps`` steps, so its distance from ``put`` is the tree's error;
    ``american_put``, for which there is no closed form, comes from the same tree.
    """
    market = {name: parameter[name] for name in ("spot", "strike", "rate", "sigma", "maturity")}
    call, put = black_scholes(**market)
    steps = parameter["steps"]
    return {
        "call": call,
        "put": put,
        "tree_put": tree_put(**market, steps=steps, american=False),
        "american_put": tree_put(**market, steps=steps, american=True),
    }


def black_scholes(
    *, spot: float, strike: float, rate: float, sigma: float, maturity: float
) -> tuple[float, float]:
    """The European call and put."""
    spread = sigma * math.sqrt(maturity)
    d1 = (math.log(spot / strike) + (rate + sigma * sigma / 2) * maturity) / spread
    d2 = d1 - spread
    discounted_strike = strike * math.exp(-rate * maturity)
    call = spot * _cumulative(d1) - discounted_strike * _cumulative(d2)
    put = discounted_strike * _cumulative(-d2) - spot * _cumulative(-d1)
    return call, put


def tree_put(
    *, spot: float, strike: float, rate: float, sigma: float, maturity: float, steps: int, american: bool
) -> float:
    """The put from a binomial tree; an American one may be exercised at every step."""
    step = maturity / steps
    up = math.exp(sigma * math.sqrt(step))
    discount = math.exp(-rate * step)
    chance_up = (1 / discount - 1 / up) / (up - 1 / up)
    if not 0 < chance_up < 1:
        raise ValueError(f"{steps} steps are too few for rate {rate} and sigma {sigma}")
    weight_up, weight_down = discount * chance_up, discount * (1 - chance_up)
    exercise = [strike - spot * up**power for power in range(-steps, steps + 1)]
    values = [max(0.0, payoff) for payoff in exercise[::2]]
    for last in range(steps, 0, -1):
        held = [weight_down * below + weight_up * above for below, above in pairwise(values)]
        # At step n the prices are spot * up**power for power = -n, -n + 2, … n.
        first = steps - last + 1
        payoffs = exercise[first : len(exercise) - first : 2]
        values = list(map(max, held, payoffs)) if american else held
    return values[0]
