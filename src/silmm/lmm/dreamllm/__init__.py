"""DreamLLM (arXiv 2309.11499): a language model whose dream queries' hidden states a diffusion decoder paints."""
