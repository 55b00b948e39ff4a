"""`python -m tmkt`: the command line."""

from tmkt.cli import main

if __name__ == "__main__":
    main()
