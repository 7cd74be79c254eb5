"""What the LMMs on transformers' own classes share: their weights' folders, LoRA, caches, text and questions."""
