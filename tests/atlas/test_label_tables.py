import numpy as np
from sklearn.metrics import average_precision_score

from biosae.atlas.label_tables import LabelTables

from .synthetic import CLASSES, D_SAE


def test_matrices_hold_every_feature_and_class(run):
    (matrices,) = LabelTables(run).of_features(0, D_SAE)
    auroc = matrices["auroc"].values.reshape(D_SAE, len(CLASSES))
    classes = LabelTables(run).classes["cell_type"]
    row = run.labels[(run.labels["feature"] == 3) & (run.labels["class"] == classes[1])].iloc[0]
    assert auroc[3, 1] == np.float32(row["auroc"])


def test_features_of_a_class_are_ranked_on_the_select_samples(run):
    labels = LabelTables(run)
    ((_, shard),) = labels.shards()
    for content in shard["classes"]:
        assert np.all(np.diff(content["auroc_select"].values) <= 0)


def test_curve_encloses_the_average_precision_of_the_test_samples(run):
    labels = LabelTables(run)
    ((_, shard),) = labels.shards()
    column = labels.classes["cell_type"].index("NK cells")
    curve = shard["classes"][column]["curve"]
    test = (run.table.obs["biosae_part"] == "test").to_numpy()
    positive = (run.table.obs["cell_type"] == "NK cells").to_numpy()[test]
    code = run.table.X.toarray()[test, curve["feature"]]
    area = -np.sum(np.diff(curve["recall"]) * np.array(curve["precision"])[:-1])
    # the curve has fewer points than the limit here, so its area is exactly sklearn's sum
    np.testing.assert_allclose(area, average_precision_score(positive, code), atol=1e-9)
    assert curve["base_rate"] == positive.mean()
