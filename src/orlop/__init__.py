"""Orlop: a server operating system whose PID 1 is a container engine."""

__version__ = "0.1.0"
