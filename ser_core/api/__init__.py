"""The SERRun resource, the stage contract and their validation. Standard library and pydantic only."""
