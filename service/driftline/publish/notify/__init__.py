"""Alerts delivered to receivers outside Kafka: which alert to whom, in what form, and when again.

``notice``, ``plan``, ``retry``, ``memory``, ``webhook``, ``slack`` and ``alertmanager`` are pure: time and
chance are arguments. ``send`` speaks HTTP, ``notified`` and ``courier`` speak Kafka.
"""
