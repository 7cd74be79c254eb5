"""The paper, in order: one module a step. Each has `run(settings, *, paths..., seed, iteration)`: records in, records out."""
