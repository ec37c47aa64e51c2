import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from biosae.errors import ArtefactError
from biosae.features.token_codes import MOST_DRAWN, TokenCodes, evenly


@pytest.fixture
def codes(encoded):
    return TokenCodes(encoded / "token_codes")


def test_entries_are_the_active_tokens_of_a_feature(codes, dense):
    sample, token, value, code = dense
    for feature in range(codes.d_sae):
        active = np.flatnonzero(code[:, feature])
        entries = codes.entries(feature)
        np.testing.assert_array_equal(entries.sample, sample[active])
        np.testing.assert_array_equal(entries.token, token[active])
        np.testing.assert_array_equal(entries.value, value[active])
        # Batches of other sizes round matrix products differently in the last bits.
        np.testing.assert_allclose(entries.code, code[active, feature], rtol=1e-5)


def test_top_tokens_are_the_largest_codes_in_order(codes, dense):
    code = dense[3]
    feature = int(np.argmax((code > 0).sum(0)))
    top = codes.top(feature, 4)
    np.testing.assert_allclose(top.code, np.sort(code[:, feature])[::-1][:4], rtol=1e-5)


def test_shards_hold_every_code_once(codes, dense):
    code = dense[3]
    total = np.zeros(codes.d_sae)
    for shard in codes.shards():
        np.add.at(total, shard.feature(), shard.code)
    np.testing.assert_allclose(total, code.sum(0), rtol=1e-5)
    assert codes.nnz == np.count_nonzero(code)
    assert codes.n_tokens == len(code)


def test_the_format_is_readable_by_the_safetensors_library(encoded, codes):
    tensors = load_file(encoded / "token_codes" / "shard-00001.safetensors")
    mapped = list(codes.shards())[1]
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(getattr(mapped, name), tensor)
        assert getattr(mapped, name).dtype == tensor.dtype


def test_a_feature_that_does_not_exist_is_refused(codes):
    with pytest.raises(IndexError, match="between 0 and 15"):
        codes.entries(16)


def test_a_missing_folder_names_the_command(tmp_path):
    with pytest.raises(ArtefactError, match="the features stage"):
        TokenCodes(tmp_path / "nothing")


def test_a_missing_shard_is_named(encoded):
    (encoded / "token_codes" / "shard-00001.safetensors").unlink()
    with pytest.raises(ArtefactError, match="lacks shard-00001.safetensors"):
        TokenCodes(encoded / "token_codes")


def test_a_changed_shard_is_refused(encoded, codes):
    path = encoded / "token_codes" / "shard-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="changed or damaged"):
        list(codes.shards())


def test_a_truncated_shard_is_refused(encoded):
    path = encoded / "token_codes" / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ArtefactError, match="cannot be read"):
        TokenCodes(encoded / "token_codes")


def test_drawn_tokens_run_from_the_weakest_to_the_strongest():
    code = np.random.default_rng(0).random(1000)
    drawn = code[evenly(code)]
    assert len(drawn) == MOST_DRAWN and (np.diff(drawn) > 0).all()
    assert (drawn[0], drawn[-1]) == (code.min(), code.max())
    assert code[:5][evenly(code[:5])].tolist() == sorted(code[:5])


def test_codes_of_another_sae_or_other_activations_than_the_features_are_refused(encoded):
    path = encoded / "token_codes" / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("sae_hash", "activations_hash"):
        path.write_text(json.dumps(manifest | {name: "f" * 16}))
        with pytest.raises(ArtefactError, match="token_codes does not belong to features.h5ad .*the features stage"):
            TokenCodes(encoded / "token_codes")


def test_a_changed_shard_is_refused_by_every_way_to_read_it(encoded):
    path = encoded / "token_codes" / "shard-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    codes = TokenCodes(encoded / "token_codes")
    for read in (lambda: list(codes.shards()), lambda: codes.entries(0), lambda: codes.top(0, 3)):
        with pytest.raises(ArtefactError, match="shard-00001.safetensors was changed or damaged"):
            read()
