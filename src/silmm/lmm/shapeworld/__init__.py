"""The tiny ShapeWorld LMMs: small `LlamaForCausalLM`s over words and visual tokens, trained on the spot."""
