"""Learning: `policy` is built on `reward`, both on `compute`; `trust` decides by numbers alone. The only package that imports torch."""
