"""ttgctl: fault-tolerant parameter sweeps that prove that nothing was lost."""

__version__ = "0.1.0"
