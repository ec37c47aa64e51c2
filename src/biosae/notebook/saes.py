"""SAEs from folders, the Hub and other libraries."""

from __future__ import annotations

from pathlib import Path

from biosae.run_record import RUN
from biosae.saes import interop
from biosae.saes.base import SAE
from biosae.saes.hub import from_pretrained

READERS = {
    "saelens": interop.from_saelens,
    "dictionary_learning": interop.from_dictionary_learning,
    "interplm": interop.from_interplm,
}


def load(source: Path | str, device: str = "cpu") -> SAE:
    """Return a trained SAE.

    Parameters
    ----------
    source
        A run folder, a folder with sae.safetensors, a repository on the Hugging Face Hub (``me/x``), or what another
        library wrote: ``saelens:folder``, ``dictionary_learning:folder``, ``interplm:file``.
    device
        Of torch.

    Raises
    ------
    ArtefactError
        If there is no SAE, or it is damaged.

    Examples
    --------
    >>> import biosae as bs, torch
    >>> x = torch.randn(500, 8, generator=torch.Generator().manual_seed(0))
    >>> run = bs.train(x, "topk", k=2, expansion=2)
    >>> bs.load(run.folder).d_sae
    16
    """
    kind, colon, place = str(source).partition(":")
    if colon and kind in READERS:
        return READERS[kind](Path(place).expanduser()).to(device)
    sae = from_pretrained(source, device=device)
    folder = Path(source)
    sae.run_folder = folder if (folder / RUN).exists() else None
    return sae
