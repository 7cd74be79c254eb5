"""The paper, in order: one module a step, with `run(settings, *, paths..., seed, iteration)`: records in and out."""
