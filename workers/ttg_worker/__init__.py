"""What runs in a worker: the wire format, the brokers, and the loop that drains chunks.

Imports neither ``ttgctl`` nor any of its dependencies but pika, redis and msgspec, so that the
worker image holds nothing else.
"""
