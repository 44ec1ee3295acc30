"""The one place of the version; setup.cfg reads it too."""

__version__ = "0.1.0"
