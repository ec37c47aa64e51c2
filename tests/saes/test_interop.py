"""Files as the other libraries write them; the codes expected are their formulas, written out."""

import json
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from biosae.errors import ArtefactError, SettingError
from biosae.saes.interop import from_dictionary_learning, from_interplm, from_saelens

D_IN, D_SAE, K = 6, 20, 4


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


X = random(50, D_IN)
ENC, DEC = random(D_SAE, D_IN), random(D_IN, D_SAE)  # as torch.nn.Linear keeps them
B_ENC, B_DEC = random(D_SAE) / 3, random(D_IN) / 2
LINEAR = {"encoder.weight": ENC, "decoder.weight": DEC}
PLAIN = {"W_enc": ENC.T.contiguous(), "W_dec": DEC.T.contiguous(), "b_dec": B_DEC}
THRESHOLD = random(D_SAE).abs()
R_MAG, B_MAG = random(D_SAE) / 5, random(D_SAE) / 7
PRE, PRE_OF_X = (X - B_DEC) @ ENC.T + B_ENC, X @ ENC.T + B_ENC


def top(pre):
    kept = torch.zeros_like(pre).scatter_(1, pre.topk(K).indices, 1.0)
    return kept * pre.relu()


def gated(pre, bias):
    return (pre + bias > 0) * (R_MAG.exp() * pre + B_MAG).relu()


def check(sae, codes, bias=B_DEC):
    # float32 sums of six terms; a code at the very border of its threshold would show as a jump
    torch.testing.assert_close(sae.encode(X).dense(), codes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae(X), codes @ DEC.T + bias, rtol=1e-5, atol=1e-4)


DICTIONARIES = {
    "AutoEncoder": (LINEAR | {"encoder.bias": B_ENC, "bias": B_DEC}, PRE.relu()),
    "AutoEncoderNew": (LINEAR | {"encoder.bias": B_ENC, "decoder.bias": B_DEC}, PRE_OF_X.relu()),
    "GatedAutoEncoder": (
        LINEAR | {"decoder_bias": B_DEC, "gate_bias": B_ENC, "r_mag": R_MAG, "mag_bias": B_MAG},
        gated(PRE - B_ENC, B_ENC),
    ),
    "JumpReluAutoEncoder": (
        PLAIN | {"b_enc": B_ENC, "threshold": THRESHOLD},
        (PRE_OF_X * (PRE_OF_X > THRESHOLD)).relu(),
    ),
    "AutoEncoderTopK": (
        LINEAR | {"encoder.bias": B_ENC, "b_dec": B_DEC, "k": torch.tensor(K), "threshold": torch.tensor(-1.0)},
        top(PRE),
    ),
    "BatchTopKSAE": (
        LINEAR | {"encoder.bias": B_ENC, "b_dec": B_DEC, "k": torch.tensor(K), "threshold": torch.tensor(0.7)},
        PRE.relu() * (PRE.relu() > 0.7),
    ),
    "MatryoshkaBatchTopKSAE": (
        PLAIN
        | {"b_enc": B_ENC, "k": torch.tensor(K), "threshold": torch.tensor(0.7), "group_sizes": torch.tensor([4])},
        PRE.relu() * (PRE.relu() > 0.7),
    ),
}


@pytest.mark.parametrize("kind", DICTIONARIES)
def test_dictionary_learning(kind, tmp_path):
    tensors, codes = DICTIONARIES[kind]
    torch.save(tensors, tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": kind}, "buffer": {}}))
    check(from_dictionary_learning(tmp_path), codes)


SAELENS = {
    "standard": ({"b_enc": B_ENC}, {}, PRE.relu()),
    "standard, x as it is": ({"b_enc": B_ENC}, {"apply_b_dec_to_input": False}, PRE_OF_X.relu()),
    "topk": ({"b_enc": B_ENC}, {"k": K}, top(PRE)),
    "jumprelu": ({"b_enc": B_ENC, "threshold": THRESHOLD}, {}, PRE.relu() * (PRE > THRESHOLD)),
    "gated": ({"b_gate": B_ENC, "r_mag": R_MAG, "b_mag": B_MAG}, {}, gated(PRE - B_ENC, B_ENC)),
}


def write_saelens(folder, kind, tensors, settings):
    save_file(PLAIN | tensors, folder / "sae_weights.safetensors")
    cfg = {"architecture": kind.partition(",")[0], "normalize_activations": "none", **settings}
    (folder / "cfg.json").write_text(json.dumps(cfg))


@pytest.mark.parametrize("kind", SAELENS)
def test_saelens(kind, tmp_path):
    tensors, settings, codes = SAELENS[kind]
    write_saelens(tmp_path, kind, tensors, settings)
    check(from_saelens(tmp_path), codes)


def test_saelens_topk_that_ranks_by_what_codes_add_to_the_output(tmp_path):
    write_saelens(tmp_path, "topk", {"b_enc": B_ENC}, {"k": K, "rescale_acts_by_decoder_norm": True})
    sae, norm = from_saelens(tmp_path), DEC.norm(dim=0)
    codes = top(PRE * norm)
    torch.testing.assert_close(sae.encode(X).dense(), codes, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae(X), (codes / norm) @ DEC.T + B_DEC, rtol=1e-5, atol=1e-4)


def test_interplm(tmp_path):
    tensors, codes = DICTIONARIES["AutoEncoder"]
    torch.save(tensors | {"activation_rescale_factor": torch.ones(D_SAE)}, tmp_path / "ae_unnormalized.pt")
    check(from_interplm(tmp_path / "ae_unnormalized.pt"), codes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="tensors of a machine that has no such device are the case")
@pytest.mark.parametrize("read", [from_dictionary_learning, from_interplm])
def test_a_file_saved_on_a_gpu_is_read_without_one(read, tmp_path):
    """A pickle read without ``map_location`` asks for the GPU that it was saved on."""
    tensors, codes = DICTIONARIES["AutoEncoder"]
    torch.save(tensors, tmp_path / "cpu.pt")
    with zipfile.ZipFile(tmp_path / "cpu.pt") as saved, zipfile.ZipFile(tmp_path / "ae.pt", "w") as moved:
        for name in saved.namelist():
            content = saved.read(name)
            # A pickle's string is its length in four bytes and its letters.
            gpu = (
                content.replace(b"\x03\x00\x00\x00cpu", b"\x06\x00\x00\x00cuda:0") if name.endswith(".pkl") else content
            )
            moved.writestr(name.replace("cpu/", "ae/", 1), gpu)
    (tmp_path / "config.json").write_text(json.dumps({"trainer": {"dict_class": "AutoEncoder"}, "buffer": {}}))
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(tmp_path / "ae.pt", weights_only=True)
    check(read(tmp_path / "ae.pt" if read is from_interplm else tmp_path), codes)


class Harmful:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of the file ran')",)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    """A pickle read without ``weights_only`` runs the code that it holds."""
    torch.save({"encoder.weight": Harmful()}, tmp_path / "ae.pt")
    with pytest.raises(ArtefactError, match="ae.pt cannot be read as plain tensors: it asks for [a-z_]*.?exec"):
        from_interplm(tmp_path / "ae.pt")


def test_what_ours_cannot_express_is_refused(tmp_path):
    write_saelens(tmp_path, "standard", {"b_enc": B_ENC}, {"normalize_activations": "layer_norm"})
    with pytest.raises(SettingError, match="normalize_activations=layer_norm"):
        from_saelens(tmp_path)
    write_saelens(tmp_path, "temporal", {"b_enc": B_ENC}, {})
    with pytest.raises(ArtefactError, match="architecture temporal; standard, topk"):
        from_saelens(tmp_path)
    write_saelens(tmp_path, "topk", {"b_enc": B_ENC}, {})
    with pytest.raises(ArtefactError, match="lacks the tensor or setting 'k'"):
        from_saelens(tmp_path)
    write_saelens(tmp_path, "standard", {"b_enc": B_ENC[:-1].clone()}, {})
    with pytest.raises(ArtefactError, match="does not hold one SAE"):
        from_saelens(tmp_path)
    with pytest.raises(ArtefactError, match="config.json cannot be read"):
        from_dictionary_learning(tmp_path)


def test_an_empty_file_is_one_line(tmp_path):
    (tmp_path / "ae.pt").touch()
    with pytest.raises(ArtefactError, match="ae.pt cannot be read as plain tensors .it is empty.; download it again"):
        from_interplm(tmp_path / "ae.pt")


@pytest.mark.parametrize("config", ["[]", '{"trainer": 3}', '{"trainer": {"dict_class": [1]}}', "1e400", "{"])
def test_a_config_of_another_form_is_one_line(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    torch.save({"encoder.weight": torch.ones(4, 3)}, tmp_path / "ae.pt")
    with pytest.raises(ArtefactError, match="config.json cannot be read") as caught:
        from_dictionary_learning(tmp_path)
    assert "\n" not in str(caught.value)
