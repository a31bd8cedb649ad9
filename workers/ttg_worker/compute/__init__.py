"""The compute process: loads the user's function and calls it, one parameter after another.

It runs under the user's interpreter, any Python from 3.9 on, and needs nothing but the standard library;
nothing outside of this package is imported there. The worker (:mod:`ttg_worker.compute_process`) starts it,
feeds it and decides on time, memory and deaths.
"""
