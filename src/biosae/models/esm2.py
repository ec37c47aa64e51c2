"""ESM-2: proteins as residues (Lin et al. 2023)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from biosae.errors import ModelError, SettingError
from biosae.json_objects import SIZE

from .base import Edit, ModelAdapter
from .checkpoints import Weights, read_checkpoint, read_shards, shard_files, unwrapped
from .dictionaries import check_settings, read_json
from .esm2_network import ESM2Network, MaskedHead, masked_head, network_weights
from .folders import BUILTIN, HUB, model_name, require_files, resolve_folder
from .settings import check_choice
from .tokens import SpecialToken, TokenBatch, TokenSequences, with_special
from .transformer import key_mask
from .weights import Initialisation

logger = logging.getLogger(__name__)

PUBLISHED = "https://huggingface.co/facebook (esm2_t6_8M_UR50D ... esm2_t48_15B_UR50D)"
# fmt: off
VOCABULARY = (
    "<cls>", "<pad>", "<eos>", "<unk>", "L", "A", "G", "V", "S", "E", "R", "T", "I", "D", "P", "K", "Q", "N", "F", "Y",
    "M", "H", "W", "C", "X", "B", "U", "Z", "O", ".", "-", "<null_1>", "<mask>",
)
# fmt: on
CLS, EOS, MASK = (VOCABULARY.index(token) for token in ("<cls>", "<eos>", "<mask>"))
UNKNOWN = VOCABULARY.index("X")
SITES = ("residual", "mlp", "norm")
SHAPE = {
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "d_mlp": "intermediate_size",
    "n_layers": "num_hidden_layers",
}
_TOKEN_OF_BYTE = np.array([VOCABULARY.index(chr(b)) if chr(b) in VOCABULARY else -1 for b in range(256)])


class ProteinSequences(Protocol):
    """Names and amino-acid sequences, one letter per residue."""

    ids: list[str]
    sequences: list[str]


def load_esm2(
    model_dir: str | Path,
    device: str = "cpu",
    max_residues: int | None = None,
    site: str = "residual",
    random_init: str | bool = "false",
    seed: int = 0,
) -> ESM2:
    """Load an ESM-2 of any size from a Hugging Face folder, or from a fair-esm ``.pt`` file or its folder.

    Parameters
    ----------
    max_residues
        Longer proteins are cut to their first residues; None keeps them whole.
    site
        ``residual`` stream after a layer, output of the layer's ``mlp``, or the final ``norm`` (last
        layer only), which is what both libraries call the last representation.
    random_init, seed
        ``false``, ``blocks`` (trained embeddings, random layers) or ``all``, and the seed of it.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or files do not belong together.
    SettingError
        If a setting is out of range.
    """
    init = Initialisation(random_init, seed)
    if max_residues is not None and max_residues < 1:
        message = f"max_residues must be at least 1, or empty for whole proteins, got {max_residues}"
        raise SettingError(message, argument="max_residues")
    check_choice("site", site, SITES)
    checkpoint = _find(model_dir)
    make = partial(ESM2Network, len(VOCABULARY), **checkpoint.shape)
    weights = network_weights(checkpoint.weights)
    network = init.network(make, weights, ("embedding.", "inv_freq"), checkpoint.files[0])
    model = ESM2(checkpoint.name, network.to(device), max_residues, site)
    model.fingerprint = init.fingerprint(checkpoint.files, site=site)
    if random_init in ("false", False):
        model.head = masked_head(checkpoint.weights, network.embedding)
    return model


class ESM2(ModelAdapter):
    """Proteins as ``<cls>``, residues, ``<eos>``.

    Attributes
    ----------
    head
        The head of masked residues, where the checkpoint has one and the network is the trained one.
    """

    head: MaskedHead | None = None

    def __init__(self, name: str, network: ESM2Network, max_residues: int | None, site: str):
        super().__init__(name, network, VOCABULARY, network.embedding.embedding_dim, site=site)
        self._max_residues = max_residues

    def tokenize(self, samples: ProteinSequences) -> TokenSequences:
        """Return one token per residue; lower case is read as upper case and unknown letters as X, with a warning."""
        sequences = [sequence[: self._max_residues] for sequence in samples.sequences]
        letters = np.frombuffer("".join(sequences).upper().encode("ascii", "replace"), dtype=np.uint8)
        token = _TOKEN_OF_BYTE[letters]
        self._warn(len(samples.sequences), sum(map(len, samples.sequences)), letters, token)
        token = np.where(token < 0, UNKNOWN, token)
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        return with_special(lengths, token, np.zeros(len(token)), first=[SpecialToken(CLS)], last=[SpecialToken(EOS)])

    def _warn(self, n_proteins: int, n_residues: int, letters: np.ndarray, token: np.ndarray) -> None:
        if len(letters) < n_residues:
            cut = n_residues - len(letters)
            logger.warning("%d residues beyond max_residues=%s are not read", cut, self._max_residues)
        unknown = letters[token < 0]
        if len(unknown):
            names = " ".join(chr(letter) for letter in np.unique(unknown))
            logger.warning("%d residues of %d proteins are read as X: %s", len(unknown), n_proteins, names)

    def run(self, batch: TokenBatch) -> Tensor:
        return self.network(batch.token, batch.mask, key_mask(batch))

    @torch.no_grad()
    def logits(self, batch: TokenBatch, layer: int = -1, edit: Edit | None = None) -> Tensor:
        """Return the logits of the vocabulary at every content token, ``(n_tokens, 33)``, edited as in `embed`.

        Raises
        ------
        ModelError
            If the checkpoint has no head.
        """
        if self.head is None:
            raise ModelError(f"{self.name} has no head for masked residues; use a checkpoint with its lm_head")
        return self.head(self._run_edited(batch, layer, edit).float())[batch.content]


@dataclass(frozen=True)
class _Checkpoint:
    name: str
    files: list[Path]
    weights: Weights
    shape: dict[str, int | None]


def _find(model_dir: str | Path) -> _Checkpoint:
    """Find the checkpoint in a folder, of either library, or a fair-esm file itself."""
    plain = not str(model_dir).startswith((BUILTIN, HUB))
    if plain and Path(model_dir).expanduser().is_file():
        return _read_fair(Path(model_dir).expanduser())
    folder = resolve_folder(model_dir, PUBLISHED)
    candidates = [*folder.glob("esm2_*.pt"), *folder.glob("esm2_*.safetensors")]
    fair = sorted(file for file in candidates if not file.stem.endswith("-contact-regression"))
    if len(fair) == 1:
        return _read_fair(fair[0])
    if fair:
        names = ", ".join(file.name for file in fair)
        raise ModelError(f"{folder} has several models ({names}); give one of the files as model_dir", "model_dir")
    return _read_hugging_face(folder, model_name(model_dir, folder))


def _read_fair(path: Path) -> _Checkpoint:
    weights, settings = read_checkpoint(path)
    try:
        cfg = settings["cfg"]["model"]
        d_model = cfg["encoder_embed_dim"]
        shape = {"d_model": d_model, "n_heads": cfg["encoder_attention_heads"], "n_layers": cfg["encoder_layers"]}
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path} lacks the setting {error}; expected an ESM-2 file of fair-esm") from error
    check_settings(shape, dict.fromkeys(shape, SIZE), path)
    shape |= {"d_mlp": 4 * d_model, "mask_id": MASK if cfg.get("token_dropout", True) else None}
    own = unwrapped({n.removeprefix("model."): weight for n, weight in weights.items() if n.startswith("model.")})
    return _Checkpoint(path.stem, [path], own, shape)


def _read_hugging_face(folder: Path, name: str) -> _Checkpoint:
    (path,) = require_files(folder, PUBLISHED, ("config.json",))
    config = read_json(path, dict.fromkeys(SHAPE.values(), SIZE))
    expected = {"model_type": "esm", "position_embedding_type": "rotary", "emb_layer_norm_before": False}
    for key, value in expected.items():
        if config.get(key) != value:
            raise ModelError(f"{path} has {key}={config.get(key)}, an ESM-2 has {value}")
    shape = {ours: config[theirs] for ours, theirs in SHAPE.items()}
    shape["mask_id"] = MASK if config.get("token_dropout", True) else None
    files = shard_files(folder, PUBLISHED)
    return _Checkpoint(name, files, read_shards(files), shape)
