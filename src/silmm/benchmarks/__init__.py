"""Public benchmarks: prompts in, what judges see in the pictures, official and corrected scores out."""
