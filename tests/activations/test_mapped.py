import pytest
import torch
from safetensors.torch import load_file, save_file

from biosae.activations.mapped import DTYPES, mapped_tensors


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_mapped_tensors_are_those_that_safetensors_reads(tmp_path, n):
    generator = torch.Generator().manual_seed(n)
    written = {
        name: torch.randint(2, (n, 3) if name == "F16" else (n,), generator=generator).to(dtype)
        for name, dtype in DTYPES.items()
    }
    save_file(written, tmp_path / "a.safetensors", {"made": "here"})
    found, wanted = mapped_tensors(tmp_path / "a.safetensors"), load_file(tmp_path / "a.safetensors")
    assert found.keys() == wanted.keys()
    for name in wanted:
        assert found[name].dtype == wanted[name].dtype and torch.equal(found[name], wanted[name])


def test_a_file_stays_readable_after_it_is_gone(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.arange(5)}, path)
    found = mapped_tensors(path)["x"]
    path.unlink()
    assert found.tolist() == [0, 1, 2, 3, 4]
