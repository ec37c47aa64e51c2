import pytest

from biosae.errors import SettingError
from biosae.pipeline.run import run
from biosae.pipeline.train import train
from biosae.runs.data_settings import CellData
from biosae.runs.settings import SaeSettings, Settings


@pytest.mark.parametrize("stage", [run, train])
@pytest.mark.parametrize(
    ("variant", "hyperparams", "says"),
    [
        ("topk", {"k": -3}, "between 1 and d_sae, got -3"),
        ("topkk", {"k": 3}, "mean topk"),
        ("topk", {"k": 3, "lr": -1.0}, "lr must be"),
    ],
)
def test_settings_of_the_sae_are_refused_before_data_are_read(stage, variant, hyperparams, says):
    settings = Settings(data=CellData(path="no-such.h5ad"), sae=SaeSettings(variant, hyperparams=hyperparams))
    with pytest.raises(SettingError, match=says):
        stage(settings)
