import pytest
from omegaconf import OmegaConf

from biosae.errors import SettingError
from biosae.registry import Registry, call, load_plugins, refuse_code


@pytest.fixture
def registry() -> Registry:
    return Registry("shape", {"path": "pathlib:Path"}, "biosae.tests")


def load_shape(size, device="cpu", name=None):
    return size, device, name


def test_entries_are_found_by_exact_name(registry):
    registry.register("square")(load_shape)
    assert registry.get("square") is load_shape
    assert registry.names() == ["path", "square"]
    assert registry.name_of(load_shape) == "square"
    assert registry.name_of(registry.get("path")) == "path"


@pytest.mark.parametrize("name", ["pathlib.Path", "pathlib:Path", "os.system", "Square", ""])
def test_nothing_else_is_imported(registry, name):
    with pytest.raises(SettingError, match="there is no shape"):
        registry.get(name)


@pytest.mark.parametrize("name", [None, 3, {"a": "b"}, ["path"]])
def test_a_name_is_text(registry, name):
    with pytest.raises(SettingError, match="a shape is chosen by its name, got"):
        registry.get(name)


def test_an_argument_that_is_needed_is_named():
    with pytest.raises(SettingError, match="edges is needed and has no default") as caught:
        call(lambda edges, colour="red": edges, {}, "shape")
    assert caught.value.argument == "shape.edges"


def test_the_nearest_name_is_proposed(registry):
    with pytest.raises(SettingError, match="there is no shape pth; did you mean path?"):
        registry.get("pth")


def test_what_was_never_registered_has_no_name(registry):
    with pytest.raises(SettingError, match="load_shape is not a registered shape"):
        registry.name_of(load_shape)


def test_plain_settings_become_arguments():
    assert call(load_shape, {"size": [1, 2], "name": None}, "shape", device="cuda") == ([1, 2], "cuda", None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"_target_": "os.system"}}, "^size must be a text, a number"),
        ({"size": [{"a": 1}]}, "^size must be a text, a number"),
        ({"size": 1, "evil": 1}, "there is no setting evil; there are size, name"),
        ({"size": 1, "nam": "x"}, "there is no setting nam; did you mean name?"),
        ({"size": 1, "device": "cuda"}, "there is no setting device"),
        ({"size": 1, "_target_": "os.system"}, "there is no setting _target_"),
    ],
)
def test_settings_that_are_not_plain_arguments_are_refused(settings, message):
    with pytest.raises(SettingError, match=message.replace("?", r"\?")):
        call(load_shape, settings, "shape", device="cpu")


@pytest.mark.parametrize("key", ["_target_", "_args_", "_partial_", "_convert_", "_recursive_"])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"a": x}, lambda x: {"a": [1, {"b": x}]}])
def test_calls_are_refused_at_any_depth(key, wrap):
    with pytest.raises(SettingError, match="names code to run"):
        refuse_code(wrap({key: "pandas.read_pickle"}))


def test_values_that_are_looked_up_elsewhere_are_refused():
    with pytest.raises(SettingError, match="is looked up elsewhere"):
        refuse_code(OmegaConf.to_container(OmegaConf.create({"a": "${oc.env:HOME}"}), resolve=False))


def test_a_plugin_that_is_not_there_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("BIOSAE_PLUGINS", "no_such_plugin")
    with pytest.raises(SettingError, match="BIOSAE_PLUGINS=no_such_plugin cannot be imported"):
        load_plugins()
