"""Reading a run back from its store: the ledger, the HTML report and the model card."""
