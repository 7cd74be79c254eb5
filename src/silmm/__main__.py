"""`python -m silmm`: the same as the `silmm` command."""

from silmm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
