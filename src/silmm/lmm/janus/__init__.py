"""Janus and Janus-Pro (Wu et al., arXiv 2410.13848; Chen et al., arXiv 2501.17811), on transformers' own classes."""
