"""silmm: a laboratory for self-improving large multimodal models (SILMM, arXiv 2412.05818)."""

import os
import sys

if sys.stderr is not None and not sys.stderr.isatty():
    # Progress bars in files, of this package and of the libraries that it uses, are plain ASCII: a job that is killed
    # in the midst of a longer character leaves a log that is no text. tqdm reads this when it is imported.
    os.environ.setdefault("TQDM_ASCII", " 123456789#")

__version__ = "0.1.0"
