"""The commands of `biosae`, a module each."""

import os

# Read when torch is loaded. Its threads else wait busily for some milliseconds after every parallel operation, on the
# cores that the threads of compiled loops need at that moment: a training step on two cores took 8 % longer.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
