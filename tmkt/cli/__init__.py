"""Command line, one file a group of commands; `root` joins them."""

from tmkt.cli.root import app as app
from tmkt.cli.root import main as main
