"""Weight files are data: read as plain tensors or refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from biosae.errors import ModelError
from biosae.models.weights import build_frozen, read_weights


def test_every_format_gives_the_same_float32_tensors(tmp_path):
    weights = {"a": torch.arange(6.0).reshape(2, 3).half(), "n": torch.tensor([1, 2])}
    save_file(weights, tmp_path / "w.safetensors")
    for name in ("w.bin", "w.pt"):
        torch.save(weights, tmp_path / name)
    for path in sorted(tmp_path.iterdir()):
        read = read_weights(path)
        assert read["a"].dtype == torch.float32 and read["n"].dtype == torch.int64
        assert torch.equal(read["a"], weights["a"].float())


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_malicious_file_executes_nothing(tmp_path, save):
    canary = tmp_path / "canary"
    save({"a": _Touch(str(canary))}, tmp_path / "w.bin")
    with pytest.raises(ModelError, match="cannot be read as plain tensors"):
        read_weights(tmp_path / "w.bin")
    assert not canary.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_damaged_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ModelError, match="download it again"):
        read_weights(tmp_path / name)


def test_files_of_something_else_are_refused(tmp_path):
    torch.save([torch.ones(2)], tmp_path / "w.pt")
    with pytest.raises(ModelError, match="must map names to tensors"):
        read_weights(tmp_path / "w.pt")


def test_networks_are_built_from_their_seed_and_leave_the_global_one_alone():
    before = torch.random.get_rng_state()
    first, same, other = (build_frozen(lambda: torch.nn.Linear(3, 3), seed) for seed in (0, 0, 1))
    assert torch.equal(first.weight, same.weight) and not torch.equal(first.weight, other.weight)
    assert torch.equal(torch.random.get_rng_state(), before)
