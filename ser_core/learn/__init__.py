"""Learning, the only package that imports torch: `policy` is built on `reward`, both on `weights`, `text` and `compute`.

`trust` and `evaluation` know numbers alone; `base_models` tries a run's base models before anything is spent.
"""
