"""SEED-LLaMA (arXiv 2310.01218): a LLaMA that reads and writes pictures as 32 visual tokens each."""
