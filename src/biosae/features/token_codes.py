"""The code of every token, sparse, on disk feature by feature; read without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

from biosae.artefacts import atomic_write, check_origin, content_hash, damaged, read_json
from biosae.errors import ArtefactError
from biosae.json_objects import COUNT

from .origin import FEATURES, MADE_BY, MANIFEST, TOKEN_CODES, read_origin

FORMAT = 1
VOCABULARY = "vocabulary.csv"
MOST_DRAWN = 150  # tokens of a feature in a figure of its codes
SHARDS_OPEN = 256  # an open shard takes a file descriptor, of which a process usually has 1,024
EXPECTED = {
    **dict.fromkeys(("d_sae", "n_tokens", "n_samples", "nnz"), COUNT),
    "sae_hash": str,
    "activations_hash": str,
    "shards": [{"name": str, "n_tokens": COUNT, "nnz": COUNT, "hash": str}],
}
_TENSORS = ("sample", "token", "value", "feature_offsets", "row", "code")


@dataclass(frozen=True, eq=False)
class TokenCodesShard:
    """Consecutive tokens of whole samples and their codes, sorted by feature and then by token.

    Attributes
    ----------
    sample, token, value
        ``(n,)`` int64 row of the token's sample, int32 vocabulary id, float32 input value.
    feature_offsets
        ``(d_sae + 1,) int64``; feature ``j`` owns entries ``feature_offsets[j]:feature_offsets[j + 1]``.
    row, code
        ``(nnz,)`` int32 token of each entry as a row of this shard, float32 code above zero.
    """

    sample: np.ndarray
    token: np.ndarray
    value: np.ndarray
    feature_offsets: np.ndarray
    row: np.ndarray
    code: np.ndarray

    @property
    def n_tokens(self) -> int:
        return len(self.token)

    @property
    def d_sae(self) -> int:
        return len(self.feature_offsets) - 1

    def feature(self) -> np.ndarray:
        """``(nnz,) int64`` feature of each entry."""
        return np.repeat(np.arange(self.d_sae), np.diff(self.feature_offsets))

    def write(self, path: Path, source: dict[str, str]) -> None:
        """Writes the shard whole, with the settings it was made from in its header."""
        tensors = {name: np.ascontiguousarray(getattr(self, name)) for name in _TENSORS}
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata={"source": json.dumps(source, sort_keys=True)})

    @classmethod
    def read(cls, path: Path) -> TokenCodesShard:
        """Open a shard on disk, memory-mapped: only the used parts are read.

        Raises
        ------
        ArtefactError
            If the file is missing or damaged.
        """
        try:
            header, start = _header(path)
            content = np.memmap(path, np.uint8, mode="r", offset=0)[start:]
            return cls(*(_tensor(content, **header[name]) for name in _TENSORS))
        except (OSError, ValueError, KeyError) as error:
            raise ArtefactError(f"{path} cannot be read ({error}); make it again with {MADE_BY}") from error


def source_of(path: Path) -> dict[str, str] | None:
    """Return the settings that a shard on disk was made from; None when there is no such file."""
    try:
        header, _ = _header(path)
        return json.loads(header["__metadata__"]["source"])
    except (OSError, ValueError, KeyError):
        return None


@dataclass(frozen=True, eq=False)
class Entries:
    """Tokens on which one feature is active.

    Attributes
    ----------
    sample, token, value, code
        ``(n,)`` int64 row of the sample, int32 vocabulary id, float32 input value, float32 code.
    """

    sample: np.ndarray
    token: np.ndarray
    value: np.ndarray
    code: np.ndarray


class TokenCodes:
    """The folder ``token_codes/``.

    A feature's entries are read by themselves, so its top tokens come in milliseconds however
    many features there are.

    Attributes
    ----------
    d_sae, n_tokens, n_samples, nnz, sae_hash, activations_hash
        As in the manifest.
    vocabulary
        ``token``, ``identifier`` and ``name``, one row per vocabulary id, in the order of the ids.

    Raises
    ------
    ArtefactError
        If the folder is missing, incomplete or of another format; the message names the stage
        that makes it.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        manifest = read_json(self.folder / MANIFEST, MADE_BY, EXPECTED, FORMAT)
        self.d_sae: int = manifest["d_sae"]
        self.n_tokens: int = manifest["n_tokens"]
        self.n_samples: int = manifest["n_samples"]
        self.nnz: int = manifest["nnz"]
        self.sae_hash: str = manifest["sae_hash"]
        self.activations_hash: str = manifest["activations_hash"]
        self._shards = manifest["shards"]
        missing = [shard["name"] for shard in self._shards if not (self.folder / shard["name"]).exists()]
        if missing:
            raise ArtefactError(f"{folder} lacks {', '.join(missing)}; make it again with {MADE_BY}")
        self._check_features(manifest)
        self.vocabulary = _read_vocabulary(self.folder / VOCABULARY)
        self._read = lru_cache(maxsize=SHARDS_OPEN)(lambda name: TokenCodesShard.read(self.folder / name))
        for shard in self._shards:
            self._check_shard(shard)
        self._check_totals()

    def _check_features(self, manifest: dict) -> None:
        """Raise unless the feature table that lies beside the folder was written with these codes."""
        features = self.folder.with_name(FEATURES)
        if features.exists() and self.folder.name == TOKEN_CODES:
            made = read_origin(features)
            for name in ("sae_hash", "activations_hash"):
                if made.get(name) is not None:
                    check_origin(self.folder, manifest[name], features.name, made[name], MADE_BY)

    def _check_shard(self, described: dict) -> None:
        """Raise unless a shard has the size that the manifest names."""
        shard, path = self._read(described["name"]), self.folder / described["name"]
        found = {"d_sae": shard.d_sae, "n_tokens": shard.n_tokens, "nnz": len(shard.code)}
        for name, expected in ({"d_sae": self.d_sae} | described).items():
            if name in found and found[name] != expected:
                raise damaged(path, f"{name} is {found[name]:,}, expected {expected:,}", MADE_BY)

    def _check_totals(self) -> None:
        for name, total in {"n_tokens": self.n_tokens, "nnz": self.nnz}.items():
            if sum(shard[name] for shard in self._shards) != total:
                raise damaged(self.folder / MANIFEST, f"{name} is {total:,}, its shards have others", MADE_BY)

    @property
    def n_shards(self) -> int:
        return len(self._shards)

    def shards(self) -> Iterator[TokenCodesShard]:
        """The shards in the order of the samples, each checked against its hash.

        Raises
        ------
        ArtefactError
            If a shard is not the one that the manifest names.
        """
        for shard in self._shards:
            yield self._whole(shard)

    def _whole(self, described: dict) -> TokenCodesShard:
        """Return a shard once its content is known to be the one that the manifest names."""
        path = self.folder / described["name"]
        if content_hash(path) != described["hash"]:
            raise ArtefactError(f"{path} was changed or damaged; make it again with {MADE_BY}")
        return self._read(described["name"])

    def entries(self, feature: int) -> Entries:
        """The tokens on which a feature is active, in the order of the samples."""
        if not 0 <= feature < self.d_sae:
            raise IndexError(f"feature must lie between 0 and {self.d_sae - 1}, got {feature}")
        parts = [_entries(self._whole(shard), feature) for shard in self._shards]
        return Entries(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def top(self, feature: int, n: int) -> Entries:
        """The ``n`` tokens with the largest codes of a feature, largest first."""
        entries = self.entries(feature)
        order = np.argsort(-entries.code, kind="stable")[:n]
        return Entries(entries.sample[order], entries.token[order], entries.value[order], entries.code[order])


def evenly(code: np.ndarray) -> np.ndarray:
    """Return at most `MOST_DRAWN` entries at even steps through the sorted codes, so that the tail is seen."""
    order = np.argsort(code)
    if len(order) <= MOST_DRAWN:
        return order
    return order[np.linspace(0, len(order) - 1, MOST_DRAWN).round().astype(int)]


def _entries(shard: TokenCodesShard, feature: int) -> tuple[np.ndarray, ...]:
    owned = slice(*shard.feature_offsets[feature : feature + 2])
    row = shard.row[owned]
    return shard.sample[row], shard.token[row], shard.value[row], shard.code[owned]


def _read_vocabulary(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype={"token": int, "identifier": str, "name": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); make it again with {MADE_BY}") from error


_DTYPES = {"I64": np.int64, "I32": np.int32, "F32": np.float32}


def _header(path: Path) -> tuple[dict, int]:
    """The header of a safetensors file, and where its tensors start (bytes)."""
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length


def _tensor(content: np.ndarray, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    """A view of one tensor of the bytes after the header."""
    first, last = data_offsets
    if last > len(content):
        raise ValueError(f"it ends after {len(content):,} of {last:,} bytes")
    return content[first:last].view(_DTYPES[dtype]).reshape(shape)
