"""A selection made on some samples, which can be reported on other samples only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from biosae.errors import SettingError

T = TypeVar("T")


@dataclass(frozen=True)
class HeldOutSelection(Generic[T]):
    """Something chosen on samples: a class, a threshold, a feature.

    The chosen value cannot be had without saying which samples it will be reported on, and those
    that it was chosen on are refused: a number on them would be flattered by the choice.

    Attributes
    ----------
    samples
        Rows of the samples that the choice saw.
    """

    _value: T
    samples: np.ndarray

    def for_report_on(self, samples: np.ndarray) -> T:
        """The chosen value, to be reported on ``samples`` (rows).

        Raises
        ------
        SettingError
            If the choice saw any of them.
        """
        n_shared = len(np.intersect1d(self.samples, samples))
        if n_shared:
            message = f"{n_shared} of {len(samples)} samples to report on were also used to choose on; "
            raise SettingError(message + "report on samples of another part of the split")
        return self._value
