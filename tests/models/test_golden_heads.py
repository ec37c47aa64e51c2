"""From samples to what the official heads print: our states, through heads written out here, give the golden outputs.

The heads are no part of biosae. That they fit shows that nothing of the states was lost on the way to them: the
contacts of ESM-2 come from every attention map, the decoder of scFoundation reads all genes of the ``gene`` model.
"""

from types import SimpleNamespace

import anndata
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from biosae.models.esm2 import load_esm2
from biosae.models.geneformer import load_geneformer
from biosae.models.scfoundation import load_scfoundation
from biosae.models.scgpt import load_scgpt
from biosae.models.tokens import pad_batch
from biosae.models.transformer import rotary_angles, rotate

from .conftest import canonical_cells
from .test_esm2 import all_proteins, read_fasta
from .test_scgpt import official_batch

CLOSE = {"atol": 2e-5, "rtol": 2e-5}


class Head:
    """Tensors of a checkpoint, applied by the names they have there."""

    def __init__(self, weights, prefix=""):
        self.weights, self.prefix = weights, prefix

    def __getitem__(self, name):
        return self.weights[self.prefix + name]

    def linear(self, name, x):
        return F.linear(x, self[f"{name}.weight"], self[f"{name}.bias"])

    def norm(self, name, x, eps=1e-5):
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps)


def only(adapter, samples, row=0):
    return pad_batch(adapter.tokenize(samples), np.array([row]), adapter.pad_token)


def test_expression_decoder_of_scgpt(golden):
    expected = np.load(golden / "scgpt" / "expected.npz")
    adapter = load_scgpt(golden / "scgpt_flash")
    batch = official_batch(expected["embed_gene_ids"], expected["embed_values"], expected["embed_padding_mask"])
    head = Head(torch.load(golden / "scgpt_flash" / "best_model.pt", weights_only=True), "decoder.fc.")
    x = adapter.run(batch)[batch.mask]
    for layer in ("0", "2"):
        x = F.leaky_relu(head.linear(layer, x))
    np.testing.assert_allclose(head.linear("4", x)[:, 0], expected["embed_mlm_output"], **CLOSE)


def test_gene_logits_of_geneformer(golden):
    for folder, name in (("geneformer_v1", "Geneformer-V1-10M"), ("geneformer_v2", "Geneformer-V2-104M")):
        adapter = load_geneformer(golden / folder / name)
        batch = only(adapter, canonical_cells(anndata.read_h5ad(golden / folder / "input.h5ad")))
        weights = load_file(golden / folder / name / "model.safetensors")
        head = Head(weights, "cls.predictions.")
        x = head.norm("transform.LayerNorm", F.relu(head.linear("transform.dense", adapter.run(batch)[0])), 1e-12)
        logits = x @ weights["bert.embeddings.word_embeddings.weight"].T + head["bias"]
        np.testing.assert_allclose(logits, np.load(golden / folder / "expected.npz")["mlm_logits_cell0"], **CLOSE)


def test_residue_logits_of_esm2(golden):
    adapter = load_esm2(golden / "esm2")
    weights = load_file(golden / "esm2" / "model.safetensors")
    head = Head(weights, "lm_head.")
    states = adapter.run(only(adapter, read_fasta(golden / "esm2" / "input.fasta")))[0]
    x = head.norm("layer_norm", F.gelu(head.linear("dense", states)))
    logits = x @ weights["esm.embeddings.word_embeddings.weight"].T + head["bias"]
    np.testing.assert_allclose(logits, np.load(golden / "esm2" / "expected.npz")["logits_prot0"], **CLOSE)


def test_contacts_of_esm2_from_its_attention_maps(golden):
    """Symmetric maps without the special tokens, corrected for the average product, then a logistic regression."""
    adapter = load_esm2(golden / "esm2_fair")
    batch = all_proteins(adapter, read_fasta(golden / "esm2_fair" / "input.fasta"))
    n, maps = int(batch.mask[4].sum()), []
    rotation = rotary_angles(n, adapter.network.inv_freq)

    def keep(module, args, output):
        query, key, _ = output[4, :n].unflatten(-1, (3, module.out_features // 30, 10)).permute(1, 2, 0, 3)
        maps.append(torch.softmax(rotate(query, rotation) @ rotate(key, rotation).mT / 10**0.5, -1))

    handles = [layer.attention.qkv.register_forward_hook(keep) for layer in adapter.network.layers]
    adapter.run(batch)
    for handle in handles:
        handle.remove()
    attention = torch.cat(maps)[:, 1:-1, 1:-1]  # (layers * heads, residues, residues)
    attention = attention + attention.mT
    product = attention.sum(-1, keepdim=True) * attention.sum(-2, keepdim=True)
    corrected = attention - product / attention.sum((-1, -2), keepdim=True)
    file = golden / "esm2_fair" / "esm2_t4_tiny_UR50D-contact-regression.pt"
    head = Head(torch.load(file, weights_only=True)["model"], "contact_head.")
    contacts = torch.sigmoid(head.linear("regression", corrected.permute(1, 2, 0)))[..., 0]
    np.testing.assert_allclose(contacts, np.load(golden / "esm2_fair" / "expected.npz")["contacts_prot4"], atol=1e-4)


def favor(x, projection, key):
    """Positive random features of the softmax kernel (Choromanski et al. 2021, lemma 1)."""
    x = x * x.shape[-1] ** -0.25
    dash, diagonal = x @ projection.T, x.square().sum(-1, keepdim=True) / 2
    return (torch.exp(dash - diagonal - (dash.max() if key else dash.amax(-1, keepdim=True))) + 1e-4) / len(
        projection
    ) ** 0.5


def test_decoder_of_scfoundation(golden):
    """The decoder reads the encoder's outputs where a gene is expressed, and the value 0 of every other gene."""
    root = golden / "scfoundation"
    expected = np.load(root / "expected.npz")
    adapter = load_scfoundation(root, version="gene", site="norm")
    batch = only(adapter, canonical_cells(anndata.read_h5ad(root / "input.h5ad")), int(expected["decoder_cell_index"]))
    network = adapter.network
    x = network.value_embedding(torch.zeros(19266))
    x[batch.token[0]] = adapter.activations(batch, [-1])[0]
    head = Head(torch.load(root / "models.ckpt", weights_only=True)["gene"]["state_dict"], "model.")
    x = head.linear("decoder_embed", x + network.gene_embedding.weight[:19266])
    for layer in range(2):
        attention, mlp = (f"decoder.performer.net.layers.{layer}.{part}" for part in (0, 1))
        normed = head.norm(f"{attention}.norm", x)
        heads = [head.linear(f"{attention}.fn.to_{name}", normed).unflatten(-1, (2, 8)) for name in "qkv"]
        query, key, value = (part.transpose(0, 1) for part in heads)  # (heads, genes, 8)
        projection = head[f"{attention}.fn.fast_attention.projection_matrix"]
        query, key = favor(query, projection, False), favor(key, projection, True)
        mixed = query @ (key.mT @ value) / (query @ key.sum(1).unsqueeze(-1))
        x = x + head.linear(f"{attention}.fn.to_out", mixed.transpose(0, 1).flatten(1))
        hidden = F.gelu(head.linear(f"{mlp}.fn.fn.w1", head.norm(f"{mlp}.norm", x)))
        x = x + head.linear(f"{mlp}.fn.fn.w2", hidden)
    x = head.norm("norm", head.norm("decoder.norm", x))
    close = {"atol": 5e-5, "rtol": 5e-5}
    np.testing.assert_allclose(x[expected["decoder_positions"]], expected["decoder_gene_emb"], **close)
    expression = head.linear("to_final", x)[:19264, 0]
    np.testing.assert_allclose(expression, expected["decoder_gene_expression"], **close)


def test_unknown_letters_of_the_hugging_face_tokenizer(golden):
    """It turns JJ into one <unk> and loses a position; one X for each stands in its place here."""
    official = np.load(golden / "esm2" / "expected.npz")["unk_input_ids"]
    adapter = load_esm2(golden / "esm2")
    ours = adapter.tokenize(SimpleNamespace(ids=["a"], sequences=["MKJJAaZ"])).token
    names = adapter.vocabulary
    assert names[official].tolist() == ["<cls>", "M", "K", "<unk>", "A", "<unk>", "Z", "<eos>"]
    assert names[ours].tolist() == ["<cls>", *"MKXXAAZ", "<eos>"]
