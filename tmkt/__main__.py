"""`tmkt` and `python -m tmkt`: the command line."""

import sys


def main() -> None:
    """Load the command line, which takes half a second, and run it.

    Ctrl-C is answered in one line from the start.
    """
    try:
        from tmkt.cli import main as run
    except KeyboardInterrupt:
        print("tmkt: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
