"""The model and dataset hub.

`repository` knows its files, `answers` asks for them, `watch` gives up what stands still, `places` says where an address lies.
"""
