from __future__ import annotations

from biosae.compat import current_settings


def test_settings_of_earlier_versions_are_left_out_and_names_put_for_paths():
    older = {
        "training": {"epochs": 2, "bias_start": "geometric_median", "resample_at": [0.5], "shard_dictionary": True},
        "sae": {"_target_": "biosae.saes.topk.TopK", "k": 4},
        "seed": 0,
    }
    assert current_settings(older) == {"training": {"epochs": 2}, "sae": {"variant": "topk", "k": 4}, "seed": 0}
