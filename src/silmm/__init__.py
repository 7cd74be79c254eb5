"""silmm: a laboratory for self-improving large multimodal models (SILMM, arXiv 2412.05818)."""

__version__ = "0.1.0"
