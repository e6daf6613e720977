"""The runs of `ser sweep`: their SERRuns, who carries them out, and their results."""
