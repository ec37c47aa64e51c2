"""Which features are edited: the first of a ranking, features like them, any, or those that a user names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from biosae.errors import DataError, SettingError

N_NEAREST = 10  # features of most similar frequency among which a matched one is drawn


def random_ranking(alive: np.ndarray, seed: int) -> np.ndarray:
    """The living features in random order."""
    return np.random.default_rng(seed).permutation(alive)


def matched_ranking(features: np.ndarray, frequency: np.ndarray, seed: int) -> np.ndarray:
    """For each feature another one that fires about as often, none of them twice and none of the features themselves.

    Each is drawn from the `N_NEAREST` features of most similar log frequency that are left.

    Raises
    ------
    SettingError
        If fewer other features are alive than are wanted.
    """
    generator = np.random.default_rng(seed)
    left = np.setdiff1d(np.flatnonzero(frequency > 0), features)
    if len(left) < len(features):
        message = f"{len(features)} features are edited but only {len(left)} others ever fire, too few to match them"
        raise SettingError(f"{message}; use smaller numbers in steer.n_features_list or leave matched_features out")
    log_frequency = np.log(np.maximum(frequency, np.finfo(float).tiny))
    drawn = np.empty(len(features), dtype=np.int64)
    for n, feature in enumerate(features):
        near = np.argsort(np.abs(log_frequency[left] - log_frequency[feature]), kind="stable")[:N_NEAREST]
        place = generator.choice(near)
        drawn[n] = left[place]
        left = np.delete(left, place)
    return drawn


def ranked_by(score: np.ndarray, descending: bool) -> np.ndarray:
    """Features by their score, those without one left out; equal ones by number."""
    known = np.flatnonzero(~np.isnan(score))
    order = np.argsort(-score[known] if descending else score[known], kind="stable")
    return known[order]


def checked_features(features: list[int], d_sae: int, source: str) -> np.ndarray:
    """The features as given, or `SettingError` when one does not exist, is there twice, or none is there."""
    unknown = [feature for feature in features if not 0 <= feature < d_sae]
    if unknown:
        raise SettingError(f"{source} names feature {unknown[0]}; this SAE has features 0 to {d_sae - 1}")
    repeated = pd.Index(features)[pd.Index(features).duplicated()]
    if len(repeated):
        raise SettingError(f"{source} names feature {repeated[0]} twice")
    if not features:
        raise SettingError(f"{source} names no feature")
    return np.array(features, dtype=np.int64)


def read_features(path: Path, d_sae: int) -> np.ndarray:
    """Features from a text or CSV file with one a line, as ``12`` or ``f12``, in the first column; ``#`` comments.

    A first line that is no feature is a heading.

    Raises
    ------
    DataError
        If the file cannot be read or a line names no feature.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"steer.choose.file={path} cannot be read: {error}") from error
    words = [(n, line.partition("#")[0].replace(",", "\t").split("\t")[0].strip()) for n, line in enumerate(lines, 1)]
    words = [(n, word) for n, word in words if word]
    if words and not _is_feature(words[0][1]):
        words = words[1:]
    for n, word in words:
        if not _is_feature(word):
            raise DataError(f"{path}, line {n}: expected a feature such as 12 or f12, got {word!r}")
    return checked_features([int(word.removeprefix("f")) for _, word in words], d_sae, str(path))


def _is_feature(word: str) -> bool:
    return word.removeprefix("f").isdecimal()
