"""T2I-CompBench++: eight categories of compositional prompts, ten pictures each."""
