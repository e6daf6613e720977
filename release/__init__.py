"""How a release is made: images, the chart, what is in them, and their checksums."""
