"""What the stages share: events, data sets, networks, runs, integer programs, bundles and the command line."""

__version__ = "0.1.0"
