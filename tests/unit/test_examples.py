from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from ttg_worker.compute.functions import load
from ttg_worker.compute.values import encode
from ttgctl.core.inputs.parameters import open_parameters

EXAMPLES = Path(__file__).parents[2] / "examples"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def computed(name: str, function: str, sweep: str) -> tuple[list[dict], list[dict]]:
    """The example's parameters and values, by the way that a worker takes."""
    source = open_parameters(EXAMPLES / sweep)
    parameters = source.values(range(source.total))
    compute = load(f"{EXAMPLES / name}:{function}")
    return parameters, [msgspec.json.decode(encode(compute(parameter))) for parameter in parameters]


def test_pi_is_within_its_error_bar():
    parameters, values = computed("pi.py", "estimate", "pi.yaml")
    assert [parameter["seed"] for parameter in parameters] == list(range(200))
    mean = sum(value["estimate"] for value in values) / len(values)
    error = math.sqrt(sum(value["standard_error"] ** 2 for value in values)) / len(values)
    assert error == pytest.approx(4 * math.sqrt(math.pi / 4 * (1 - math.pi / 4) / 10_000_000), rel=0.01)
    assert abs(mean - math.pi) <= 2 * error
    for bars, share in ((1, 0.68), (2, 0.95)):
        near = [abs(value["estimate"] - math.pi) <= bars * value["standard_error"] for value in values]
        assert sum(near) / len(near) == pytest.approx(share, abs=0.05)


def test_pi_repeats_itself_for_a_seed():
    estimate = module("pi").estimate
    assert estimate({"seed": 5, "samples": 1000}) == estimate({"seed": 5, "samples": 1000})
    assert estimate({"seed": 5, "samples": 1000}) != estimate({"seed": 6, "samples": 1000})


def test_options_keep_parity_order_and_agree_with_the_tree():
    parameters, values = computed("option_pricing.py", "price", "options.yaml")
    assert len(values) == 720
    for parameter, value in zip(parameters, values, strict=True):
        discounted = parameter["strike"] * math.exp(-parameter["rate"] * parameter["maturity"])
        assert value["call"] - value["put"] == pytest.approx(parameter["spot"] - discounted, abs=1e-9)
        assert value["tree_put"] == pytest.approx(value["put"], abs=0.05)
        assert value["american_put"] >= value["tree_put"]
        assert value["american_put"] >= parameter["strike"] - parameter["spot"]


# Hull, Options, Futures and Other Derivatives: the examples of Black-Scholes and of the binomial tree.
def test_options_have_the_textbooks_prices():
    options = module("option_pricing")
    call, put = options.black_scholes(spot=42, strike=40, rate=0.1, sigma=0.2, maturity=0.5)
    assert (call, put) == (pytest.approx(4.76, abs=0.005), pytest.approx(0.81, abs=0.005))
    call, put = options.black_scholes(spot=100, strike=100, rate=0.05, sigma=0.2, maturity=1)
    assert (call, put) == (pytest.approx(10.450584, abs=1e-6), pytest.approx(5.573526, abs=1e-6))
    market = {"spot": 50, "strike": 50, "rate": 0.1, "sigma": 0.4, "maturity": 5 / 12}
    assert options.tree_put(**market, steps=5, american=True) == pytest.approx(4.49, abs=0.005)
    assert options.tree_put(**market, steps=500, american=True) == pytest.approx(4.28, abs=0.005)


def test_a_tree_with_too_few_steps_says_so():
    with pytest.raises(ValueError, match=r"1 steps are too few for rate 0\.5"):
        module("option_pricing").tree_put(
            spot=100, strike=100, rate=0.5, sigma=0.1, maturity=1, steps=1, american=False
        )
