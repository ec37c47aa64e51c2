"""The public surface: its names, their documentation, and examples that run."""

import doctest
import inspect
import pkgutil
import subprocess
import sys

import pytest

import biosae as bs

SURFACE = {
    *("Activations", "Run", "SAE", "__version__", "datasets", "load", "load_model", "load_run", "pl"),
    *("register_model", "register_variant", "report", "tl", "train"),
}
TOOLS = {"activations", "encode", "explain", "score", "score_genes", "score_labels", "steer"}
FUNCTIONS = [
    *(getattr(bs.tl, name) for name in sorted(TOOLS)),
    *(bs.train, bs.load, bs.load_model, bs.load_run, bs.report, bs.Activations.of),
    *(bs.datasets.pbmc3k, bs.datasets.kang, bs.datasets.three_finger_toxins),
]


def test_the_surface_is_this():
    assert set(bs.__all__) == SURFACE
    assert set(bs.tl.__all__) == TOOLS
    for name in SURFACE:
        assert getattr(bs, name) is not None
    with pytest.raises(AttributeError, match="no attribute trian"):
        bs.trian  # noqa: B018


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__qualname__)
def test_every_function_says_what_it_takes_and_returns(function):
    text = inspect.getdoc(function)
    parameters = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    assert len(parameters) < 3 or "Parameters\n" in text
    described = text.partition("Parameters\n")[2]
    assert not described or all(name in described for name in parameters)
    assert all(
        parameter.annotation is not parameter.empty for parameter in inspect.signature(function).parameters.values()
    )


def test_examples_run():
    modules = {inspect.getmodule(function) for function in FUNCTIONS}
    results = [doctest.testmod(module, optionflags=doctest.ELLIPSIS) for module in modules]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 15


def test_no_module_hides_a_public_name():
    """Importing ``biosae.x`` sets the attribute ``x`` of the package: a public function may not be called that."""
    modules = {module.name for module in pkgutil.iter_modules(bs.__path__)}
    assert modules & SURFACE == {"datasets", "pl", "tl"}


def test_the_import_loads_nothing():
    code = "import sys, biosae; print([name for name in ('torch', 'anndata', 'numpy') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
