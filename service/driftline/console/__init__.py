"""The console: a web page of all models, made of the output topics alone.

``live`` holds the history and tells viewers of changes, ``pages`` draws, ``access`` says who may do what,
``web`` answers requests, ``server`` puts them together. Must not know stage 1 or stage 2.
"""
