"""`python -m silmm.kernels`: which implementation of each kernel is there, and why not where it is not."""

from silmm.kernels import available

if __name__ == "__main__":
    for op, implementations in available().items():
        for name, state in implementations.items():
            print(f"{op:<18}{name:<12}{state}")
