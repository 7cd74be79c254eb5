"""Emu3 (arXiv 2409.18869) as an `LMM`: one set of weights draws, one writes, asks and answers."""
