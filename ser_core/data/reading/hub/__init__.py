"""The model and dataset hub.

`repository` knows its files, `answers` asks for them, `watch` gives up what stands still, `places` says where an address lies,
`dataset_card` reads what a dataset says of its subsets and splits.
"""
