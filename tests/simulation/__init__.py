"""Whole runs in virtual time: the real runner and real workers, on a broker and a substrate that the seed
disturbs. One seed again: ``make simulate ARGS="137"``."""
